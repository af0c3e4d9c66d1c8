"""`skene worker`: evaluates firings and delivers messages in a process of its own."""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from skene.cli.failing import DebugOption, guarded, report
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import examples, say

if TYPE_CHECKING:
    from skene.runtime.skene import Runtime

__all__ = ["commands"]

commands = typer.Typer()

PATIENCE = 10.0
"""Seconds from the signal to the end of the process, whatever a mail provider does meanwhile."""


@commands.command(
    epilog=examples(
        "skene worker",
        "skene worker --once",
        codes="it could not start, or something was still in hand when its time was up",
    )
)
@guarded
def worker(
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, then exit.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Do what is due until SIGTERM or Ctrl-C.

    It opens the ticks of schedules, asks the conditions of what was set off, and delivers the messages that
    follow. Any number of workers may run, beside those in your app's processes; give those Skene(…,
    worker=False) if this one is to do it all. On a signal it ends within 10 seconds: the message in hand is
    sent to its end, a scan or a condition is broken off, and everything else goes back.
    """
    skene = load_skene(config)
    if anyio.run(_work, skene, once):
        _leave()


def _leave() -> None:
    """End the process although a function of the app's still runs in a thread: Python would wait for it."""
    if any(not one.daemon for one in threading.enumerate() if one is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _work(skene: "Runtime", once: bool) -> bool:
    """Do what is due. Returns whether a signal has stopped it."""
    scope = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, scope)
        with scope:
            async with skene:
                if once:
                    count = await skene.worker.drain()
                    what = "firing or message" if skene.program.reactions.all else "message"
                    say(f"{count} {what if count == 1 else what.replace(' or', 's and') + 's'} dealt with")
                else:
                    loops = ", ".join(loop.key for loop in skene.loops) or "no loop"
                    say(f"at work for {loops}: {_work_of(skene)}; Ctrl-C stops")
                    await skene.worker.run()
        if scope.cancelled_caught:
            say("stopped")
        tasks.cancel_scope.cancel()
    return scope.cancelled_caught


def _work_of(skene: "Runtime") -> str:
    reactions = skene.program.reactions
    kinds = ["schedules"] if reactions.scheduled else []
    kinds += ["firings"] if reactions.all else []
    return ", ".join([*kinds, "messages"])


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            break
        with anyio.move_on_after(PATIENCE):
            async for _ in signals:  # a second one: now
                break
    report("stopped in the middle of its work; what it held comes free by itself and is tried again")
    os._exit(1)
