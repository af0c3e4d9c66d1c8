"""`skene log`: how firings and walls were decided."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import CommandError, DebugOption, guarded, scrub
from skene.cli.finding import LimitOption, LoopOption, SubjectOption, check_known_loop, read_choice, say_more
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, console, examples, instant, print_json, say, table
from skene.cli.people import with_storage
from skene.cli.times import read_past

if TYPE_CHECKING:
    from rich.table import Table

    from skene.ports.firings import DecisionRow

__all__ = ["commands", "decision_row_as_json", "decision_table"]

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "skene log",
        "skene log --subject ada --since 7d",
        "skene log --loop activation --outcome failed --json",
        codes="no such outcome or loop, a bad instant, or the database cannot be reached",
    )
)
@guarded
def log(
    loop: LoopOption = None,
    subject: SubjectOption = None,
    outcome: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what came to this: acted, not_met, failed, …")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="30d ago, or 2026-03-01 (UTC if no zone is given).")
    ] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show how firings and walls were decided, and why.

    Latest first. Gated calls themselves are not in it.
    """
    from skene.ports.firings import Outcome

    skene = load_skene(config)
    now = skene.clock.now()
    start = read_past(since, "--since", now) if since is not None else None
    if start is not None and start >= now:
        raise CommandError(f"--since {since} is not before now")
    wanted = read_choice(outcome, "--outcome", Outcome) if outcome is not None else None
    rows = with_storage(
        skene,
        lambda one: one.log(loop=loop, subject=subject, outcome=wanted, since=start, limit=limit + 1),
    )
    if not rows:
        check_known_loop(skene, loop)
    shown, more = rows[:limit], len(rows) > limit
    if as_json:
        print_json({"since": start, "decisions": [decision_row_as_json(row) for row in shown], "more": more})
    elif shown:
        console().print(decision_table(shown))
        if more:
            say_more(len(shown))
    else:
        say("nothing was decided" + (f" since {instant(start)}" if start else ""))


def decision_table(rows: Sequence["DecisionRow"]) -> "Table":
    """Rows of the log, for people."""
    columns = ("when", "loop", "step", "subject", "phase", "outcome", "reason")
    cells = [
        [
            instant(row.at),
            row.loop,
            row.step,
            row.subject or "–",
            row.phase.value,
            row.outcome.value,
            scrub(row.reason or ""),
        ]
        for row in rows
    ]
    return table(columns, cells)


def decision_row_as_json(row: "DecisionRow") -> dict[str, Any]:
    """A row of the log, as data."""
    return {
        "at": row.at,
        "loop": row.loop,
        "step": row.step,
        "subject": row.subject or None,
        "phase": row.phase.value,
        "outcome": row.outcome.value,
        "reason": scrub(row.reason) if row.reason else None,
        "firing": row.firing,
    }
