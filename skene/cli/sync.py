"""`skene sync`: makes all plans equal to what the billing service says."""

import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from skene.cli.failing import CommandError, DebugOption, explain, guarded, report
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, console, examples, print_json, say, table
from skene.definitions.faults import DefinitionError
from skene.definitions.units import parse_duration
from skene.errors import BillingUnavailable, StorageUnavailable, SyncRunning
from skene.runtime.beside import beside

if TYPE_CHECKING:
    from skene.runtime.drift import SyncReport
    from skene.runtime.skene import Runtime

__all__ = ["commands"]

commands = typer.Typer()

SHOWN = 20
"""Rows of the table; --json has up to 1,000."""
AGAIN = timedelta(minutes=1)
"""With --watch: how soon a run that was stopped, or found another at work, is tried again."""


@commands.command(
    epilog=examples(
        "skene sync --dry-run",
        "skene sync",
        "skene sync --watch 1h",
        codes="a dry run found something that differs, or it could not be brought to its end",
    )
)
@guarded
def sync(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what differs; write nothing.")
    ] = False,
    rate: Annotated[
        float, typer.Option(metavar="N", min=1, help="Calls to the billing service in a second, at most.")
    ] = 20,
    since: Annotated[
        str, typer.Option(metavar="DURATION", help="How far back to look for lost webhooks; at most 30d.")
    ] = "30d",
    watch: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Do it again and again, so often, until stopped.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Make all plans equal to what your billing service says.

    For the first start with customers you have already, after an outage, after a backup was restored. Fetches
    only those who differ; may be stopped at any time, and goes on where it was.
    """
    from skene.adapters.manual import ManualBilling

    skene = load_skene(config)
    if isinstance(skene.billing, ManualBilling):
        raise CommandError("plans are set by hand here, there is nothing to compare them with")
    pause = None if watch is None else _duration(watch, "--watch")
    back = _duration(since, "--since")

    async def once() -> bool:
        """One run. Returns whether all is in order."""
        with _shown() if not json else _silent() as progress:
            found = await skene.sync(dry_run=dry_run, since=back, rate=rate, progress=progress)
        _print(found, json)
        return found.in_order

    if not anyio.run(_run, skene, once, pause):
        raise typer.Exit(1)


def _duration(text: str, option: str) -> timedelta:
    try:
        return parse_duration(text)
    except DefinitionError as error:
        raise typer.BadParameter(str(error.faults[0]).lstrip(": "), param_hint=option) from None


async def _run(skene: "Runtime", once: Callable[[], Awaitable[bool]], pause: timedelta | None) -> bool:
    done = False
    async with _until_signal() as scope:
        try:
            await skene.storage.start()
            done = await once() if pause is None else await _again_and_again(once, pause)
        finally:
            await skene.aclose()
    if scope.cancelled_caught:
        say("stopped; the next run goes on from here")
    return done or (scope.cancelled_caught and pause is not None)


async def _again_and_again(once: Callable[[], Awaitable[bool]], pause: timedelta) -> bool:
    """Until somebody stops it. Whatever is away meanwhile comes back."""
    while True:
        wait = pause
        try:
            await once()
        except (BillingUnavailable, StorageUnavailable, SyncRunning) as error:
            report(explain(error))
            wait = min(pause, AGAIN)
        await anyio.sleep(wait.total_seconds())


@asynccontextmanager
async def _until_signal() -> AsyncGenerator[anyio.CancelScope]:
    """A scope that SIGTERM and Ctrl-C cancel."""
    scope = anyio.CancelScope()

    async def listen() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()

    async with beside(listen):
        with scope:
            yield scope


@contextmanager
def _silent() -> "Generator[Callable[[SyncReport], None]]":
    yield lambda report: None


@contextmanager
def _shown() -> "Generator[Callable[[SyncReport], None]]":
    """A line that changes, on a terminal; else a line for each stage."""
    if not sys.stderr.isatty():
        stages: list[str] = []

        def tell(found: "SyncReport") -> None:
            if found.stage not in (*stages, "done"):
                stages.append(found.stage)
                typer.echo(f"{found.stage}: {_numbers(found)}", err=True)

        yield tell
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        line = bar.add_task("comparing", total=None)
        yield lambda found: bar.update(line, description=f"{found.stage}: {_numbers(found)}")


def _numbers(found: "SyncReport") -> str:
    return ", ".join(
        f"{count} {name}" for name, count in found.counts().items() if count or name == "checked"
    )


def _print(found: "SyncReport", json: bool) -> None:
    if json:
        print_json(asdict(found))
        return
    if found.drifts:
        rows = [(one.customer, one.subject or "–", one.before, one.after) for one in found.drifts[:SHOWN]]
        console().print(table(("customer", "subject", "kept", "billing says"), rows))
        if found.differed > len(rows):
            say(f"… and {found.differed - len(rows)} more")
    end = "compared, nothing written" if found.dry_run else "done"
    say(f"{end if found.stopped is None else 'stopped'}: {_numbers(found)}")
    if found.unlinked:
        say("those who are unlinked pay, and nobody knows for whom: skene link SUBJECT CUSTOMER")
    if found.stopped is not None:
        report(f"{found.stopped}; the next run goes on from here")
