"""`skene funnel` and `skene usage`: what happened, and how somebody stands."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.finding import LoopOption, check_known_loop
from skene.cli.funnels import SHEET, lifts_in_words, row_as_json, sheet_rows
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, console, duration, examples, instant, money, print_json, say, table
from skene.cli.people import SubjectArgument, with_storage
from skene.cli.sheets import CsvOption, write_sheet
from skene.cli.standing import (
    decision_as_json,
    decision_row,
    grant_as_json,
    grant_row,
    override_as_json,
    override_row,
)
from skene.cli.times import read_past

if TYPE_CHECKING:
    from rich.table import Table

    from skene.engine.decision import Decision
    from skene.ports.grants import Granted
    from skene.ports.ledger import FunnelRow, Span
    from skene.ports.overrides import Overridden
    from skene.runtime.skene import Runtime

__all__ = ["commands", "funnel_table"]

commands = typer.Typer()

_NONE = "–"


@commands.command(
    epilog=examples(
        "skene funnel",
        "skene funnel --since 30d",
        "skene funnel --since 90d --loop freemium --by week",
        "skene funnel --since 2026-03-01 --until 2026-04-01 --csv",
        codes="a bad instant, an unknown loop, or the database cannot be reached",
    )
)
@guarded
def funnel(
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="30d ago, or 2026-03-01 (UTC if no zone is given).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="The same; what began later is left out.")
    ] = None,
    loop: LoopOption = None,
    by: Annotated[
        str | None, typer.Option(metavar="SPAN", help="A row for each day, week or month, in UTC.")
    ] = None,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show who was stopped, asked, paid, or reached a goal.

    Counted are the walls (first refusals in a window) that opened in the span and the journeys that began
    in it, and what became of them. Below, those who were asked are compared with those who were left alone
    (holdout).
    """
    if as_csv and as_json:
        raise typer.BadParameter("give --csv or --json, not both")
    span = _read_span(by)
    skene = load_skene(config)
    now = skene.clock.now()
    start = read_past(since, "--since", now) if since is not None else None
    end = read_past(until, "--until", now) if until is not None else None
    if start is not None and start >= (end or now):
        raise CommandError(f"--since {since} is not before {f'--until {until}' if until else 'now'}")
    check_known_loop(skene, loop)
    rows = with_storage(skene, lambda one: one.funnel(since=start, until=end, loop=loop, by=span))
    if as_csv:
        write_sheet(SHEET, sheet_rows(rows))
    elif as_json:
        print_json({"since": start, "until": end, "by": span, "loops": [row_as_json(row) for row in rows]})
    elif rows:
        goals = [one.key for one in skene.loops if one.goal is not None]
        console().print(funnel_table(rows, with_goal=goals))
        for row in rows:
            for words in lifts_in_words(row, with_goal=row.loop in goals):
                say(words)
    else:
        say(f"nobody has met a limit or begun a journey{_span(start, end)}")


@commands.command(
    epilog=examples(
        "skene usage ada",
        "skene usage acme --members",
        "skene usage ada --json",
        codes="the database cannot be reached",
    )
)
@guarded
def usage(
    subject: SubjectArgument,
    members: Annotated[
        bool, typer.Option("--members", help="Of a team, the shares of all its members, too.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show how a subject stands: limits, grants and overrides.

    Plan, limit, used, when the window resets. Looking charges nothing.
    """
    skene = load_skene(config)
    standing = with_storage(skene, lambda one: _standing(one, subject, members))
    decisions, grants, overrides = standing.decisions, standing.grants, standing.overrides
    now = skene.clock.now()
    if as_json:
        print_json(
            {
                "subject": subject,
                "usage": [decision_as_json(one) for one in decisions],
                "grants": [grant_as_json(one) for one in grants],
                "overrides": [override_as_json(one, now) for one in overrides],
            }
        )
        return
    columns = ("step", "meter", "plan", "limit", "used", "remaining", "window", "resets")
    rows = [decision_row(one) for one in decisions]
    console().print(table(columns, rows, numbers=("limit", "used", "remaining")))
    if grants:
        headings = ("granted", "meter", "units", "spent", "expires", "reason")
        console().print(table(headings, [grant_row(one) for one in grants], numbers=("units", "spent")))
    if overrides:
        headings = ("set", "meter", "limit", "in force", "expires", "reason")
        console().print(table(headings, [override_row(one, now) for one in overrides], numbers=("limit",)))


def funnel_table(rows: Sequence["FunnelRow"], *, with_goal: Collection[str] | None = None) -> "Table":
    """The funnel for people: columns stand only where there is something to say.

    Args:
        rows: of the loops.
        with_goal: the loops that have a goal; None for all.
    """
    aiming = [row for row in rows if _travelled(row) and (with_goal is None or row.loop in with_goal)]
    columns = [one for one in _COLUMNS if any(one.shown(row) for row in rows)]
    columns += [one for one in _GOAL_COLUMNS if any(one.shown(row) for row in aiming)]
    lines = [
        [
            *([f"{row.period:%Y-%m-%d}"] if row.period else []),
            row.loop or "(no wall)",
            *(one.cell(row) if one not in _GOAL_COLUMNS or row in aiming else _NONE for one in columns),
        ]
        for row in rows
    ]
    headings = [one.heading for one in columns]
    divided = any(row.period for row in rows)
    return table([*(["from"] if divided else []), "loop", *headings], lines, numbers=headings)


def _read_span(by: str | None) -> "Span | None":
    from skene.ports.ledger import Span

    for span in get_args(Span):
        if by == span:
            return cast("Span", span)
    if by is not None:
        raise CommandError(f"--by: got {by!r}; give one of {', '.join(get_args(Span))}")
    return None


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its heading, whether a row has something to say in it, and its cell."""

    heading: str
    shown: Callable[["FunnelRow"], bool]
    cell: Callable[["FunnelRow"], str]


def _stopped(row: "FunnelRow") -> bool:
    """Whether anything about walls is in it."""
    return bool(row.walls or row.checkouts or row.conversions or row.held_out)


def _travelled(row: "FunnelRow") -> bool:
    """Whether anything about journeys is in it."""
    return bool(row.journeys or row.held_out_journeys)


def _always(_: "FunnelRow") -> bool:
    return True


def _of_walls(name: str) -> Callable[["FunnelRow"], str]:
    return lambda row: str(getattr(row, name)) if _stopped(row) else _NONE


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else _NONE


def _refunded(row: "FunnelRow") -> bool:
    return bool(row.refunded)


def _churned(row: "FunnelRow") -> bool:
    return bool(row.churned)


def _returned(row: "FunnelRow") -> bool:
    return bool(row.reconversions)


def _held_out(row: "FunnelRow") -> bool:
    return bool(row.held_out)


def _left_alone(row: "FunnelRow") -> bool:
    return bool(row.held_out_journeys)


_COLUMNS = (
    _Column("walls", _stopped, _of_walls("walls")),
    _Column("prompts", _always, lambda row: str(row.prompts)),
    _Column("clicks", _always, lambda row: str(row.clicks)),
    _Column("checkouts", _stopped, _of_walls("checkouts")),
    _Column("conversions", _stopped, _of_walls("conversions")),
    _Column("converted", _stopped, lambda row: _share(row.conversions, row.walls)),
    _Column("median time to pay", _stopped, lambda row: duration(row.median_time_to_pay)),
    _Column("revenue", _stopped, lambda row: money(row.revenue)),
    _Column("refunded", _refunded, lambda row: money(row.refunded)),
    _Column("stopped paying", _churned, _of_walls("churned")),
    _Column("again", _returned, _of_walls("reconversions")),
    _Column("held out", _held_out, _of_walls("held_out")),
    _Column("of them paid", _held_out, _of_walls("held_out_conversions")),
    _Column("journeys", _travelled, lambda row: str(row.journeys) if _travelled(row) else _NONE),
)
_GOAL_COLUMNS = (
    _Column("goals", _always, lambda row: str(row.goals)),
    _Column("reached", _always, lambda row: _share(row.goals, row.journeys)),
    _Column("median time to goal", _always, lambda row: duration(row.median_time_to_goal)),
    _Column("left alone", _left_alone, lambda row: str(row.held_out_journeys)),
    _Column("of them reached", _left_alone, lambda row: _share(row.held_out_goals, row.held_out_journeys)),
)
"""Those of loops that have a goal."""


def _span(start: datetime | None, end: datetime | None) -> str:
    return (f" since {instant(start)}" if start else "") + (f" until {instant(end)}" if end else "")


@dataclass(frozen=True, slots=True)
class _Standing:
    decisions: tuple["Decision", ...]
    grants: tuple["Granted", ...]
    overrides: tuple["Overridden", ...]


async def _standing(skene: "Runtime", subject: str, members: bool) -> _Standing:
    return _Standing(
        await skene.usage(subject, members=members),
        await skene.grants(subject),
        await skene.overrides(subject),
    )
