"""The demo from beginning to end."""

import signal
import tempfile
from pathlib import Path

import anyio
import httpx

from skene.cli.demo.screen import Screen
from skene.cli.demo.stage import Stage, set_up
from skene.cli.demo.story import Story
from skene.cli.output import console

__all__ = ["play"]


async def play(database: str | None, port: int, keep: bool) -> None:
    """Run the demo.

    Args:
        database: its address; None is a new SQLite file.
        port: of the app; 0 is a free one.
        keep: leave everything running until Ctrl-C.

    Raises:
        DemoFailed: a step did not go as expected.
        CommandError: it could not start.
    """
    screen = Screen(console())
    folder = Path(tempfile.mkdtemp(prefix="skene-demo-"))
    try:
        async with set_up(database, port, folder) as stage:
            screen.line(f"the app     {stage.url}")
            screen.line(f"Stripe      {stage.stripe_url} (a local stand-in that the official SDK talks to)")
            screen.line(f"Resend      {stage.resend_url} (the same)")
            screen.line(f"database    {_database(stage, database)}")
            screen.line()
            async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
                await Story(stage, screen, client).tell()
            if keep:
                await _keep(stage, screen)
    finally:
        _clean_up(folder)


def _clean_up(folder: Path) -> None:
    """Remove the database; the e-mail stays, to be looked at."""
    for file in folder.glob("demo.db*"):
        file.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _database(stage: Stage, database: str | None) -> str:
    kind = repr(stage.skene.storage) if database is None else database.partition(":")[0]
    applied = f"migrations applied: {', '.join(stage.migrations)}" if stage.migrations else "up to date"
    return f"{kind}, {applied}"


async def _keep(stage: Stage, screen: Screen) -> None:
    key = f"-H 'Authorization: Bearer {stage.guest.key}'"
    json = """-H 'Content-Type: application/json' -d '{"text": "Why?"}'"""
    call = f"curl -i {stage.url}/api/features/ask {key} {json}"
    usage = f"curl {stage.url}/skene/usage {key}"
    screen.line("\nStill running, until Ctrl-C. Grace has all of her free calls left:")
    screen.line(f"  {call}")
    screen.line(f"  {usage}")
    screen.line("Use them up, and her e-mail appears here; its link leads a browser to Checkout:")
    screen.line(f"  for i in $(seq 101); do {call.replace(' -i', ' -s -o /dev/null')}; done")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_show_mails, stage, screen)
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break
        tasks.cancel_scope.cancel()
    screen.line("stopped")


async def _show_mails(stage: Stage, screen: Screen) -> None:
    shown = len(stage.resend.emails)
    while True:
        await anyio.sleep(0.3)
        for mail in stage.resend.emails[shown:]:
            shown += 1
            screen.done(f"an e-mail to {', '.join(mail.to)}: {mail.subject}")
            screen.quote(mail.text or "")
