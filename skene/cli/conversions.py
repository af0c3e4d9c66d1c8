"""`skene conversions`: who began to pay, line by line."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, console, duration, examples, instant, money, print_json, say, table
from skene.cli.people import with_storage
from skene.cli.sheets import Cell, CsvOption, write_rows, write_sheet
from skene.cli.times import read_past

if TYPE_CHECKING:
    from skene.ports.ledger import Conversion
    from skene.runtime.skene import Runtime

__all__ = ["COLUMNS", "commands"]

commands = typer.Typer()

PAGE = 1_000
COLUMNS = (
    *("number", "subject", "wall", "loop", "plan", "amount", "currency", "converted_at"),
    *("seconds_to_pay", "again", "ended_at", "refunded"),
)


@commands.command(
    epilog=examples(
        "skene conversions --since 30d",
        "skene conversions --csv > conversions.csv",
        "skene conversions --after 1200 --json",
        codes="a bad instant, or the database cannot be reached",
    )
)
@guarded
def conversions(
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="30d ago, or 2026-03-01 (UTC if no zone is given).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="The same; later ones are left out.")
    ] = None,
    after: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=0, help="Only those recorded after this one.")
    ] = None,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """List conversions, in the order they were recorded.

    One line each: who began to pay, when, for what, which wall it is credited to, and what became of it.
    """
    if as_csv and as_json:
        raise typer.BadParameter("give --csv or --json, not both")
    skene = load_skene(config)
    now = skene.clock.now()
    start = read_past(since, "--since", now) if since is not None else None
    end = read_past(until, "--until", now) if until is not None else None
    if start is not None and start >= (end or now):
        raise CommandError(f"--since {since} is not before {f'--until {until}' if until else 'now'}")
    if as_csv:
        with_storage(skene, lambda one: _stream(one, start, end, after))
        return
    found = with_storage(skene, lambda one: _all(one, start, end, after))
    if as_json:
        print_json({"conversions": [dict(zip(COLUMNS, _cells(one), strict=True)) for one in found]})
    elif found:
        headings = ("number", "subject", "loop", "plan", "amount", "began", "after", "ended", "refunded")
        numbers = ("number", "amount", "refunded")
        console().print(table(headings, [_words(one) for one in found], numbers=numbers))
    else:
        say("nobody has begun to pay")


async def _stream(
    skene: "Runtime", since: datetime | None, until: datetime | None, after: int | None
) -> None:
    """Write page by page: there may be more than fit into memory."""
    write_sheet(COLUMNS, ())
    async for page in _pages(skene, since, until, after):
        write_rows(map(_cells, page))


async def _all(
    skene: "Runtime", since: datetime | None, until: datetime | None, after: int | None
) -> list["Conversion"]:
    return [one async for page in _pages(skene, since, until, after) for one in page]


async def _pages(
    skene: "Runtime", since: datetime | None, until: datetime | None, after: int | None
) -> AsyncIterator[tuple["Conversion", ...]]:
    while page := await skene.conversions(since=since, until=until, after=after, limit=PAGE):
        yield page
        after = page[-1].number


def _cells(one: "Conversion") -> tuple[Cell, ...]:
    described: dict[str, Any] = {name: getattr(one, name) for name in COLUMNS if name != "seconds_to_pay"}
    described["seconds_to_pay"] = one.time_to_pay
    return tuple(described[name] for name in COLUMNS)


def _words(one: "Conversion") -> list[str]:
    currency = one.currency or ""
    return [
        str(one.number),
        one.subject or "(forgotten)",
        (one.loop or "(no wall)") + (" (again)" if one.again else ""),
        one.plan,
        money(() if one.amount is None else ((currency, one.amount),)),
        instant(one.converted_at),
        duration(one.time_to_pay),
        "–" if one.ended_at is None else instant(one.ended_at),
        money(((currency, one.refunded),) if one.refunded else ()),
    ]
