"""`skene explain`: what would happen to the next call of a subject, and why."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.gates import AppOption, load_gate
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, console, counted, examples, instant, print_json, say, shown_limit
from skene.cli.people import SubjectArgument, with_storage
from skene.definitions.faults import did_you_mean

if TYPE_CHECKING:
    from datetime import datetime

    from skene.cli.explained import Call, Explained
    from skene.engine.covering import Asked
    from skene.engine.decision import Decision
    from skene.runtime.skene import Runtime

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "skene explain ada POST /api/features/summarise",
        "skene explain ada POST /api/features/summarise --app app:app",
        "skene explain acme --meter tokens --units 2000 --member ada --json",
        codes="no such meter, a path or method that is none, or the database cannot be reached",
    )
)
@guarded
def explain(
    subject: SubjectArgument,
    method: Annotated[str | None, typer.Argument(metavar="METHOD", help="Of the call, such as POST.")] = None,
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="Of the call, such as /api/features/x.")
    ] = None,
    meter: Annotated[
        str | None, typer.Option(metavar="NAME", help="What your code counts on, instead of a call.")
    ] = None,
    units: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=2**63 - 1, help="What it takes; else what the step says."),
    ] = None,
    member: Annotated[
        str | None, typer.Option(metavar="SUBJECT", help="Who of a team calls: their share as well.")
    ] = None,
    app: AppOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Tell what would happen to a call, and why.

    Which steps ask about it and which do not, plan, window, use, limit, grants, the next call, the latest
    decisions. Looking charges nothing.
    """
    from skene.cli.explained import explained_as_json, gather

    if (meter is None) == (path is None):
        raise typer.BadParameter("give METHOD and PATH of a call, or --meter")
    skene = load_skene(config)
    call, asked = _call(skene, subject, method, path, meter, units, member, app)
    found = with_storage(skene, lambda one: gather(one, call, asked))
    if as_json:
        print_json(explained_as_json(found))
    else:
        _print(found)


def _call(
    skene: "Runtime",
    subject: str,
    method: str | None,
    path: str | None,
    meter: str | None,
    units: int | None,
    member: str | None,
    app: str | None,
) -> "tuple[Call, list[Asked]]":
    from skene.cli.explained import Call
    from skene.engine.covering import Asked, asked_about

    steps = skene.program.steps
    if method is None or path is None:
        if meter not in skene.program.meters:
            there = ", ".join(skene.program.meters) or "none"
            hint = did_you_mean(meter, skene.program.meters)
            raise CommandError(f"--meter: no meter is called {meter!r}; there are: {there}{hint}")
        return Call(subject, meter=meter, units=units, member=member), [
            Asked(step, asked_about(step, "", "")) for step in steps
        ]
    method, path = _read_method(method), _read_path(path)
    if app is not None:
        return _reached(skene, Call(subject, method, path, units=units, member=member), method, path, app)
    asked = [Asked(step, asked_about(step, method, path)) for step in steps]
    return Call(subject, method, path, units=units, member=member), asked


def _reached(skene: "Runtime", call: "Call", method: str, path: str, app: str) -> "tuple[Call, list[Asked]]":
    """The same by the routes of the app, which knows what is gated by hand, too."""
    from dataclasses import replace

    from skene.engine.covering import Asked, Why, asked_about
    from skene.fastapi.finding import find_route

    place, served, gate = load_gate(app)
    if gate.skene is not skene:
        raise CommandError(f"--app: the gate of {place} uses another Skene; name that one with --config")
    reached = find_route(served, gate, method, path)
    asked: list[Asked] = []
    for step in skene.program.steps:
        why = asked_about(step, method, reached.path or path)
        if step in reached.steps:
            why = why if why is Why.COVERED else Why.BY_HAND
        asked.append(Asked(step, why))
    return replace(call, route=reached.path, methods=reached.methods), asked


def _read_method(text: str) -> str:
    from skene.definitions.trigger import METHODS

    if text.upper() in METHODS:
        return text.upper()
    known = f"{', '.join(METHODS)}{did_you_mean(text, METHODS)}"
    raise CommandError(f"METHOD: got {text!r}; give one of {known}")


def _read_path(text: str) -> str:
    from urllib.parse import urlsplit

    try:
        plain = urlsplit(text).path
    except ValueError:
        plain = ""
    if text.startswith("/") and plain == text and "*" not in text:
        return text
    near = plain if plain.startswith("/") else f"/{plain}"
    hint = f"; did you mean {near}?" if len(near) > 1 and "*" not in near else ""
    raise CommandError(f"PATH: got {text!r}; give the path of one call, such as /api/features/x{hint}")


# -- for people --------------------------------------------------------------------------------------------


def _print(found: "Explained") -> None:
    from skene.cli.explained import plan_source, why
    from skene.cli.log import decision_table

    call = found.call
    what = f"the meter {call.meter}" if call.meter else f"{call.method} {call.path}"
    say(f"{call.subject}: {what}" + (f", by {call.member}" if call.member else ""))
    lines = [("plan", (f"{found.plan}, " if found.plan else "") + plan_source(found)[1])]
    if found.counts_as != call.subject:
        lines.insert(0, ("counts as", f"{found.counts_as}, whom it was merged into"))
    if found.account is not None and found.account.features:
        lines.append(("features", ", ".join(found.account.features)))
    if call.methods is not None:
        lines.append(("route", _route(call)))
    for number, one in enumerate(found.asked):
        lines.append(("" if number else "steps", f"{one.step.key}: {why(one, call)}"))
    if found.reactions:
        more = ", ".join(found.reactions)
        lines.append(("", f"not asked, set off by events, rows or the clock and not by calls: {more}"))
    for decision in found.decisions:
        lines += [("", ""), *_counter(found, decision)]
    lines += [("", ""), *(("" if n else "next call", text) for n, text in enumerate(_verdict(found)))]
    for heading, words in lines:
        say(f"  {heading:<10} {words}".rstrip())
    if found.log:
        say()
        console().print(decision_table(found.log))


def _route(call: "Call") -> str:
    if call.route is not None:
        return call.route
    if call.methods:
        return f"none takes {call.method}: those of this path take {', '.join(call.methods)}"
    return "none has such a path"


def _counter(found: "Explained", one: "Decision") -> Iterator[tuple[str, str]]:
    """How one counter stands."""
    steps = [each.step for each in found.asked if each.step.key == one.step]
    limits = steps[0].member_limits if one.member is not None else steps[0].limits
    yield "counter", f"{one.meter} of {one.step}"
    unopened = one.window_start is not None and one.window_start == one.decided_at
    ends = f"to {instant(one.resets_at)}" if one.resets_at else "without an end"
    opened = "opens with the next call that counts" if unopened else f"{instant(one.window_start)} {ends}"
    yield "window", f"{one.period}: {opened}"
    yield "used", f"{one.used:,}; {'no limit' if one.remaining is None else f'{one.remaining:,} left'}"
    planned = limits.get(one.plan)
    said = shown_limit(planned)
    if steps[0].feature is not None:
        said = f"none for those who hold the feature {steps[0].feature}, 0 for others"
    yield "limit", f"{shown_limit(one.limit)}; of the plan {one.plan}: {said}"
    now = one.decided_at
    for own in found.overrides:
        if now is not None and own.meter == one.meter and own.in_force(now):
            span = f"since {instant(own.set_at)}, until {_until(own.expires_at)}"
            yield "", f"instead {shown_limit(own.limit)} {span}{_for(own.reason)}"
    for grant in found.grants:
        over = now is not None and grant.expires_at is not None and grant.expires_at <= now
        if grant.meter == one.meter and not over and grant.spent < grant.units:
            left = f"{grant.units - grant.spent:,} of {grant.units:,}"
            yield (
                "",
                f"granted: {left} left, until {_until(grant.expires_at)}{_for(grant.reason or grant.loop)}",
            )


def _until(at: "datetime | None") -> str:
    return instant(at) if at else "further notice"


def _for(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def _verdict(found: "Explained") -> Iterator[str]:
    """What would happen."""
    call, one = found.call, found.decided
    if call.methods is not None and call.route is None:
        yield f"answered {405 if call.methods else 404} by the app, and costs nothing"
        return
    if one is None:
        yield "let through uncounted: no step asks about it"
        if call.methods is None:
            yield "(what @gate.enforce gates by hand is known with --app module:app)"
        return
    if one.allowed:
        after = "" if one.remaining is None else f", then {max(0, one.remaining - one.cost):,} left"
        watched = "; the loop only watches, it would be refused otherwise" if one.reason == "shadow" else ""
        yield f"let through for {counted(one.cost, 'unit')}{after} ({one.reason}){watched}"
    else:
        yield f'refused with {one.status_code} by {one.step}: "{one.message}" ({one.reason})'
        yield from _asking(found, one)
    if found.guessed:
        yield f"(asked for one unit: a function tells the cost of {', '.join(found.guessed)}; give --units)"


def _asking(found: "Explained", one: "Decision") -> Iterator[str]:
    """Whether somebody would be asked to upgrade."""
    from skene.runtime.refusing import has_wall, is_held_out

    (step,) = [each.step for each in found.asked if each.step.key == one.step]
    if found.account is not None and found.account.customer:
        yield f"(before that, billing is asked whether {found.account.customer} has paid, once a minute)"
    if not has_wall(one):
        return
    if one.wall is not None:
        yield f"its wall {one.wall} stands, so nothing is written and nobody is asked again"
    elif step.prompt is None:
        yield "it is the first of its window: a wall is recorded, and the step asks nobody"
    elif is_held_out(step, found.counts_as):
        yield "it is the first of its window: a wall is recorded; held out, so nobody is asked"
    else:
        mail = step.prompt.template
        yield f"it is the first of its window: a wall is recorded, and e-mail {mail} asks to upgrade"
