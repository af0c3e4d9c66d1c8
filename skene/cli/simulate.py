"""`skene simulate`: what another limit would have stopped."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.finding import as_number
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import (
    JsonOption,
    counted,
    examples,
    instant,
    limit_as_json,
    print_json,
    say,
    shown_limit,
)
from skene.cli.people import with_storage
from skene.cli.times import read_past
from skene.definitions.faults import did_you_mean

if TYPE_CHECKING:
    from skene.runtime.simulating import Simulated
    from skene.runtime.skene import Runtime

__all__ = ["commands"]

commands = typer.Typer()

_FORM = "STEP.limit.PLAN=UNITS such as freemium.limit.free=50"
_KEPT = "history keeps the units of each whole window, not when each call came"

Settings = dict[str, dict[str, int | str]]
"""Limits to try, by step and plan."""


@commands.command(
    epilog=examples(
        "skene simulate --set freemium.limit.free=50",
        "skene simulate --set freemium.limit.free=50 --set freemium.limit.team=unlimited --since 90d",
        "skene simulate --set freemium.limit.free=200 --since 2026-03-01 --json",
        codes="no such step or plan, something that history cannot tell, or the database cannot be reached",
    )
)
@guarded
def simulate(
    settings: Annotated[
        list[str], typer.Option("--set", metavar="STEP.limit.PLAN=N", help="A limit to try; may be repeated.")
    ],
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="30d ago, or 2026-03-01 (UTC if no zone is given).")
    ] = "90d",
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Hold other limits against what was used.

    Whom a limit would have stopped, and who of them paid later; or who would not have been stopped. Each
    --set is tried by itself. Nothing is changed.
    """
    skene = load_skene(config)
    now = skene.clock.now()
    start = read_past(since, "--since", now)
    if start >= now:
        raise CommandError(f"--since {since} is not before now")
    wanted = _read(skene, settings)
    found = with_storage(skene, lambda one: _try(one, wanted, start))
    if as_json:
        print_json({"since": start, "limits": [_as_json(one) for one in found]})
        return
    say(f"windows that ran since {instant(start)}{_only_latest(found)}")
    for one in found:
        limits = f"{shown_limit(one.before)} → {shown_limit(one.after)}"
        say(f"\n{one.step}, {one.plan}: {limits} units per {one.period}")
        for line in _words(one):
            say(f"  {line}")


async def _try(skene: "Runtime", wanted: Settings, since: datetime) -> "list[Simulated]":
    made: list[Simulated] = []
    for step, limits in wanted.items():
        try:
            found = await skene.simulate(step, limits, since=since)
        except ValueError as error:
            raise CommandError(f"--set: {error}") from error
        if found is None:
            raise CommandError(f"{skene.storage!r} cannot read the counters of all subjects together")
        made += found
    return made


# -- what was typed ----------------------------------------------------------------------------------------


def _read(skene: "Runtime", settings: Sequence[str]) -> Settings:
    wanted: Settings = {}
    for text in settings:
        path, equals, value = text.partition("=")
        step, plan = _place(skene, text, path.strip() if equals else "")
        limits = wanted.setdefault(step, {})
        if plan in limits:
            raise CommandError(f"--set: {path.strip()} is given twice; each limit is tried once")
        limits[plan] = as_number(value.strip())
    return wanted


def _place(skene: "Runtime", text: str, path: str) -> tuple[str, str]:
    """Step and plan that a path names. Names may have dots, so the longest step that fits is meant."""
    steps = skene.program.steps
    names = sorted({one.key for one in steps} | {one.loop for one in steps}, key=len, reverse=True)
    step = next((name for name in names if path.startswith(f"{name}.")), None)
    if step is None:
        hint = did_you_mean(path.partition(".")[0], names)
        there = ", ".join(sorted(names)) or "none"
        raise CommandError(f"--set: got {text!r}; give {_FORM}; there are: {there}{hint}")
    what, _, plan = path.removeprefix(f"{step}.").partition(".")
    if what == "limit" and plan:
        return step, plan
    if what in ("period", "group_by", "groupBy", "cost", "charge"):
        raise CommandError(f"--set: another {what} cannot be tried: {_KEPT}")
    raise CommandError(f"--set: got {text!r}; give {_FORM}")


# -- what was found ----------------------------------------------------------------------------------------


def _as_json(one: "Simulated") -> dict[str, Any]:
    names = ("step", "meter", "plan", "period", "enforced")
    limits = {name: limit_as_json(getattr(one, name)) for name in ("before", "after")}
    known = _raises(one) and not _unknown(one)
    freed = one.found.walled - one.found.walled_over if known else None
    return {
        **{name: getattr(one, name) for name in names},
        **limits,
        **asdict(one.found),
        "not_stopped": freed,
    }


def _people(number: int) -> str:
    return counted(number, "subject")


def _only_latest(found: "Sequence[Simulated]") -> str:
    return "" if all(one.found.past for one in found) else "; only the latest of each subject is kept here"


def _raises(one: "Simulated") -> bool:
    return one.before is not None and (one.after is None or one.after > one.before)


def _unknown(one: "Simulated") -> bool:
    """Whether nobody can say how far those who were stopped would have gone."""
    return _raises(one) and one.enforced and one.after is not None


def _words(one: "Simulated") -> Iterator[str]:
    found = one.found
    yield f"{_people(found.subjects)} used {one.meter} on this plan, in {found.windows:,} windows"
    if found.own_limits:
        yield f"{_people(found.own_limits)} besides had a limit of their own, and would not have noticed"
    if found.over_subjects or not _raises(one):
        paid = f"; {found.over_paid:,} of them paid later anyway" if found.over_subjects else ""
        yield f"this would have stopped {_people(found.over_subjects)}{paid}"
    if found.over_subjects:
        yield f"in {found.over_windows:,} windows, before {found.over_units:,} units that they did use"
    if found.over_granted:
        yield f"{found.over_granted:,} of them had been granted units, which might have paid for the rest"
    if found.walled and _raises(one):
        yield from _freed(one)
    elif found.walled:
        met = f"{_people(found.walled)} met the limit that stood"
        yield f"{met}, {found.walled_over:,} of those above included"


def _freed(one: "Simulated") -> Iterator[str]:
    found = one.found
    if _unknown(one):
        yield (
            f"this would not have stopped {_people(found.walled)} who were, at least not where they were: "
            "how much more they tried is not kept, so some may have met the new limit"
        )
    else:
        spared = found.walled - found.walled_over
        yield f"this would not have stopped {spared:,} of {_people(found.walled)} who were"
