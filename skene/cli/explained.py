"""What is known of a call that somebody might make, gathered for `skene explain`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skene.cli.log import decision_row_as_json
from skene.cli.output import instant
from skene.cli.standing import decision_as_json, grant_as_json, override_as_json
from skene.engine.covering import Asked, Why
from skene.engine.decide import tightest

if TYPE_CHECKING:
    from skene.engine.decision import Decision
    from skene.engine.program import CompiledStep
    from skene.ports.accounts import Customer
    from skene.ports.firings import DecisionRow
    from skene.ports.grants import Granted
    from skene.ports.ledger import Conversion
    from skene.ports.overrides import Overridden
    from skene.runtime.skene import Runtime

__all__ = ["Call", "Explained", "explained_as_json", "gather", "plan_source", "why"]

LATEST = 5


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be explained.

    Attributes:
        subject: who calls.
        method, path: of the request; None where code counts on a meter.
        meter: the meter; None for a request.
        route: the template of the route that the request reaches; None: not known, or there is none.
        methods: what routes of such a path serve; None without an app.
        units: what the call takes; None: what the steps say.
        member: who of a team calls.
    """

    subject: str
    method: str | None = None
    path: str | None = None
    meter: str | None = None
    route: str | None = None
    methods: tuple[str, ...] | None = None
    units: int | None = None
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known.

    Attributes:
        call: what was asked.
        asked: every step that holds a limit, and why the call is held against it or is not.
        account: what billing has said of the subject.
        conversion: the latest time the subject began to pay.
        decisions: of the steps that are asked, and of a member's share behind its team's.
        decided: the one that would be reported; None where nothing is asked.
        grants, overrides: of the counters that are asked.
        log: the latest decisions about the subject.
        guessed: steps whose cost a function tells of the request, and which are asked for one unit.
        reactions: steps that calls do not set off.
    """

    call: Call
    asked: tuple[Asked, ...]
    account: "Customer | None"
    conversion: "Conversion | None"
    decisions: "tuple[Decision, ...]"
    decided: "Decision | None"
    grants: "tuple[Granted, ...]"
    overrides: "tuple[Overridden, ...]"
    log: "tuple[DecisionRow, ...]"
    guessed: tuple[str, ...]
    reactions: tuple[str, ...]

    @property
    def counts_as(self) -> str:
        """Who is counted: the subject, or whom it was merged into."""
        return self.account.subject if self.account is not None else self.call.subject

    @property
    def plan(self) -> str | None:
        """The plan that is applied; where nothing is asked, the one that billing knows."""
        if self.decided is not None:
            return self.decided.plan
        return self.account.plan if self.account is not None else None


async def gather(skene: "Runtime", call: Call, asked: Sequence[Asked]) -> Explained:
    """Look, and change nothing."""
    from skene.engine.program import for_route
    from skene.runtime.asks import Ask, asks_of, stored

    subject, asks, guessed = stored(call.subject), list[Ask](), list[str]()
    for step in _steps(call, asked):
        if callable(step.cost) and call.units is None:
            guessed.append(step.key)
        units = call.units or (1 if callable(step.cost) else step.cost)
        asks += asks_of(for_route(step, call.route or call.path or ""), units, call.member)
    storage = skene.storage
    spells = await storage.conversion_rows(subject=subject)
    decisions = await skene.gatekeeper.look(call.subject, asks) if asks else ()
    meters = {one.meter for one in decisions}
    return Explained(
        call,
        tuple(asked),
        await storage.get_customer(subject),
        spells[-1] if spells else None,
        decisions,
        decisions[tightest(decisions)] if decisions else None,
        tuple(one for one in await storage.grants(subject) if one.meter in meters),
        tuple(one for one in await storage.overrides(subject) if one.meter in meters),
        await storage.decisions(subject=subject, limit=LATEST),
        tuple(guessed),
        tuple(one.key for one in skene.program.reactions.all),
    )


def _steps(call: Call, asked: Sequence[Asked]) -> "list[CompiledStep]":
    """A meter names one counter: of steps that share it the first answers, as in `skene.consume`."""
    if call.meter is None:
        return [one.step for one in asked if one.matches]
    return [one.step for one in asked if one.step.meter == call.meter][:1]


def why(one: Asked, call: Call) -> str:
    """Why a step is asked, or is not, in words."""
    if call.meter is not None:
        meter = one.step.meter
        return f"counts on {meter}" if meter == call.meter else f"not asked: counts on {meter}"
    trigger = one.step.trigger
    pattern = trigger.endpoint if trigger else ""
    methods = (
        " or ".join(sorted(trigger.methods)) if trigger and trigger.methods else "every method but OPTIONS"
    )
    return {
        Why.COVERED: f"{pattern} covers it, with {methods}",
        Why.BY_HAND: "the route is gated by hand",
        Why.CODE: "not asked: it has no trigger, only code or a route gated by hand asks it",
        Why.METHOD: f"not asked: {pattern} covers the path, but {methods} and not {call.method}",
        Why.PREFIX: f"not asked: {pattern} covers what lies below this path, not the path itself",
        Why.PATH: f"not asked: {pattern} covers other paths",
    }[one.why]


def plan_source(found: Explained) -> tuple[str, str]:
    """Where the plan comes from: a word for programs, and the same for people."""
    account, decided = found.account, found.decided
    if account is None or account.plan is None:
        tied = f", though customer {account.customer} is tied" if account and account.customer else ""
        return "nothing", f"the default: billing has said nothing of this subject{tied}"
    source = "billing" if account.customer else "hand"
    by = f"from customer {account.customer} of the billing service" if account.customer else "set by hand"
    if decided is None or decided.plan == account.plan:
        until = f", until {instant(account.until)}" if account.until else ""
        return source, f"{by}{until}; {_since(found)}"
    if account.until and decided.decided_at and account.until <= decided.decided_at:
        return "ended", f"the default: {account.plan}, {by}, ended at {instant(account.until)}"
    return "unknown_plan", f"the default: no limit knows the plan {account.plan}, {by}"


def _since(found: Explained) -> str:
    one = found.conversion
    if one is None or found.account is None or not found.account.paying:
        return "not paying" + (f" since {instant(one.ended_at)}" if one is not None and one.ended_at else "")
    wall = f", credited to a wall of {one.loop}" if one.wall else ""
    return f"paying since {instant(one.converted_at)}{wall}"


def explained_as_json(found: Explained) -> dict[str, Any]:
    """All of it as data."""
    call, account, one = found.call, found.account, found.conversion
    now = next((each.decided_at for each in found.decisions if each.decided_at), None)
    source, _ = plan_source(found)
    return {
        "subject": call.subject,
        "counts_as": found.counts_as,
        "call": {
            "method": call.method,
            "path": call.path,
            "route": call.route,
            "meter": call.meter,
            "member": call.member,
            "units": call.units,
        },
        "plan": {
            "name": found.plan,
            "source": source,
            "held": account.plan if account else None,
            "customer": account.customer if account else None,
            "until": account.until if account else None,
            "paying": account is not None and account.paying,
            "paying_since": one.converted_at if one is not None and one.ended_at is None else None,
            "features": list(account.features) if account else [],
        },
        "steps": [
            {"step": each.step.key, "asked": each.step in _steps(call, found.asked), "why": why(each, call)}
            for each in found.asked
        ],
        "set_off_otherwise": list(found.reactions),
        "decision": _verdict_as_json(found.decided),
        "counters": [decision_as_json(each) for each in found.decisions],
        "cost_unknown": list(found.guessed),
        "grants": [grant_as_json(each) for each in found.grants],
        "overrides": [override_as_json(each, now) for each in found.overrides] if now else [],
        "log": [decision_row_as_json(row) for row in found.log],
    }


def _verdict_as_json(decided: "Decision | None") -> dict[str, Any] | None:
    if decided is None:
        return None
    names = ("allowed", "reason", "step", "meter", "cost", "status_code", "message", "wall")
    return {name: getattr(decided, name) for name in names}
