"""`skene funnel` and `skene usage`: what happened, and how somebody stands."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, console, duration, examples, instant, money, print_json, say, table
from skene.cli.people import SubjectArgument, with_storage
from skene.cli.times import read_past
from skene.definitions.faults import nearest

if TYPE_CHECKING:
    from rich.table import Table

    from skene.engine.decision import Decision
    from skene.ports.grants import Granted
    from skene.ports.ledger import FunnelRow
    from skene.runtime.skene import Runtime

__all__ = ["commands", "funnel_table"]

commands = typer.Typer()

_STAGES = ("walls", "prompts", "clicks", "checkouts", "conversions")


@commands.command(
    epilog=examples(
        "skene funnel",
        "skene funnel --since 30d",
        "skene funnel --since 2026-03-01 --until 2026-04-01 --loop freemium --json",
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
    loop: Annotated[str | None, typer.Option(metavar="NAME", help="Only this loop.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show who was stopped, asked, clicked and paid, for each loop.

    Counted are the walls (first refusals in a window) that opened in the span, and what became of them.
    """
    skene = load_skene(config)
    now = skene.clock.now()
    start = read_past(since, "--since", now) if since is not None else None
    end = read_past(until, "--until", now) if until is not None else None
    if start is not None and start >= (end or now):
        raise CommandError(f"--since {since} is not before {f'--until {until}' if until else 'now'}")
    if loop is not None:
        _check_loop(skene, loop)
    rows = with_storage(skene, lambda one: one.funnel(since=start, until=end, loop=loop))
    if as_json:
        print_json({"since": start, "until": end, "loops": [_row_as_json(row) for row in rows]})
    elif rows:
        console().print(funnel_table(rows))
    else:
        say(f"nobody has met a limit{_span(start, end)}")


@commands.command(
    epilog=examples("skene usage ada", "skene usage ada --json", codes="the database cannot be reached")
)
@guarded
def usage(
    subject: SubjectArgument,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show how a subject stands with every step, and what was granted.

    Plan, limit, used, when the window resets. Looking charges nothing.
    """
    skene = load_skene(config)
    decisions, grants = with_storage(skene, lambda one: _standing(one, subject))
    if as_json:
        told = [_decision_as_json(one) for one in decisions]
        print_json({"subject": subject, "usage": told, "grants": [_grant_as_json(one) for one in grants]})
        return
    columns = ("step", "meter", "plan", "limit", "used", "remaining", "window", "resets")
    rows = [_decision_row(one) for one in decisions]
    console().print(table(columns, rows, numbers=("limit", "used", "remaining")))
    if grants:
        headings = ("granted", "meter", "units", "spent", "expires", "reason")
        console().print(table(headings, [_grant_row(one) for one in grants], numbers=("units", "spent")))


def funnel_table(rows: Sequence["FunnelRow"]) -> "Table":
    """The funnel for people."""
    held_out = any(row.held_out for row in rows)
    columns = ["loop", *_STAGES, "converted", "median time to pay", "revenue"]
    columns += ["held out", "of them paid"] if held_out else []
    cells: list[list[str]] = []
    for row in rows:
        line = [row.loop or "(no wall)", *(str(getattr(row, stage)) for stage in _STAGES)]
        share = f"{row.conversions / row.walls:.1%}" if row.walls else "–"
        line += [share, duration(row.median_time_to_pay), money(row.revenue)]
        line += [str(row.held_out), str(row.held_out_conversions)] if held_out else []
        cells.append(line)
    return table(columns, cells, numbers=columns[1:])


def _check_loop(skene: "Runtime", name: str) -> None:
    known = [one.key for one in skene.loops]
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean {near}?" if near else ""
        raise CommandError(
            f"--loop: no loop is called {name!r}; there are: {', '.join(known) or 'none'}{hint}"
        )


def _span(start: datetime | None, end: datetime | None) -> str:
    return (f" since {instant(start)}" if start else "") + (f" until {instant(end)}" if end else "")


def _row_as_json(row: "FunnelRow") -> dict[str, Any]:
    stages = {stage: getattr(row, stage) for stage in _STAGES}
    return {
        "loop": row.loop,
        **stages,
        "held_out": row.held_out,
        "held_out_conversions": row.held_out_conversions,
        "median_seconds_to_pay": row.median_time_to_pay,
        "revenue": dict(row.revenue),
    }


def _decision_as_json(one: "Decision") -> dict[str, Any]:
    names = ("step", "meter", "plan", "limit", "used", "remaining", "period", "window_start", "resets_at")
    return {"allowed": one.allowed, **{name: getattr(one, name) for name in names}}


async def _standing(skene: "Runtime", subject: str) -> tuple[tuple["Decision", ...], tuple["Granted", ...]]:
    return await skene.usage(subject), await skene.grants(subject)


def _grant_as_json(one: "Granted") -> dict[str, Any]:
    names = ("key", "meter", "units", "spent", "granted_at", "expires_at", "reason", "loop")
    return {name: getattr(one, name) for name in names}


def _grant_row(one: "Granted") -> list[str]:
    counts = [one.meter, str(one.units), str(one.spent)]
    return [instant(one.granted_at), *counts, instant(one.expires_at), one.reason or one.loop or "–"]


def _decision_row(one: "Decision") -> list[str]:
    limit, remaining = ("unlimited", "–") if one.limit is None else (str(one.limit), str(one.remaining))
    unopened = one.window_start is not None and one.window_start == one.decided_at
    resets = "not open yet" if unopened else instant(one.resets_at)
    return [one.step, one.meter, one.plan, limit, str(one.used), remaining, one.period, resets]
