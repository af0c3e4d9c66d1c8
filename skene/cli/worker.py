"""`skene worker`: delivers messages in a process of its own."""

import os
import signal
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
        codes="it could not start, or a message was still being sent when its time was up",
    )
)
@guarded
def worker(
    once: Annotated[bool, typer.Option("--once", help="Deliver what is due now, then exit.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Deliver messages until SIGTERM or Ctrl-C.

    Any number of workers may run, beside those in your app's processes; give those Skene(…, worker=False) if
    this one is to do it all. On a signal the message in hand is sent to its end, at most for 10 seconds; the
    others go back.
    """
    skene = load_skene(config)
    anyio.run(_work, skene, once)


async def _work(skene: "Runtime", once: bool) -> None:
    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()
        tasks.start_soon(_stop_on_signal, scope)
        with scope:
            async with skene:
                if once:
                    count = await skene.worker.drain()
                    say(f"{count} message{'' if count == 1 else 's'} dealt with")
                else:
                    loops = ", ".join(loop.key for loop in skene.loops) or "no loop"
                    say(f"delivering the messages of {loops}; Ctrl-C stops")
                    await skene.worker.run()
        if scope.cancelled_caught:
            say("stopped")
        tasks.cancel_scope.cancel()


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            break
        with anyio.move_on_after(PATIENCE):
            async for _ in signals:  # a second one: now
                break
    report("stopped in the middle of a message; its claim ends by itself, and another attempt follows")
    os._exit(1)
