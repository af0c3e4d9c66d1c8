"""Calling functions of the app's, which may be async or not, and may take long."""

import inspect
from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

__all__ = ["call"]

THREADS = 10
"""How many functions may run at a time. Those that hang keep their threads, and none of the app's own."""
_limiter: RunVar[CapacityLimiter | None] = RunVar("skene.runtime.calling", None)


async def call(function: Callable[[Any], Any], about: object) -> Any:
    """Call a function of the app's with one argument; await what it returns, if that can be awaited.

    One that is not async runs in a thread, or it would hold up everything else in the process: requests, the
    signal that is to stop it. When the caller is cancelled, nobody waits for that thread any longer.

    Raises:
        Exception: whatever the function raises.
    """
    called = type(function).__call__  # of an object that can be called
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):
        return await function(about)

    def run() -> tuple[Any]:
        return (function(about),)  # in a tuple, for trio refuses what returns something to await

    limiter = _limiter.get()
    if limiter is None:
        _limiter.set(limiter := CapacityLimiter(THREADS))
    (answer,) = await to_thread.run_sync(run, abandon_on_cancel=True, limiter=limiter)
    return await answer if inspect.isawaitable(answer) else answer
