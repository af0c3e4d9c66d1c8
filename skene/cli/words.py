"""Loops in words, for `skene check`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from skene.cli.output import counted, limit_as_json, shown_limit
from skene.definitions import CalendarPeriod

if TYPE_CHECKING:
    from skene.definitions import Billed, EmailAction
    from skene.engine.program import CompiledStep

__all__ = ["billed_units", "describe_step", "period_in_words", "step_as_json"]

_PERIODS = {
    "held": "held at a time",
    "lifetime": "in a lifetime",
    "billing_cycle": "per billing cycle",
}


def describe_step(step: "CompiledStep") -> list[tuple[str, str]]:
    """What a step means, as headings and sentences."""
    lines = [
        ("when", _when(step)),
        ("counts", _counts(step)),
        ("limits", _limits(step)),
        ("beyond", _beyond(step)),
    ]
    if step.warnings:
        lines.append(
            ("warns", "; ".join(f"at {fraction:.0%} {_mail(mail)}" for fraction, mail in step.warnings))
        )
    if step.holdout:
        lines.append(("holds out", f"{step.holdout:.0%} of the subjects are never asked, for comparison"))
    return lines


def step_as_json(step: "CompiledStep", routes: "Iterable[tuple[str, str]] | None") -> dict[str, Any]:
    """The same as data.

    Args:
        routes: method and path of every route it covers; None when no app was given.
    """
    trigger = step.trigger
    return {
        "step": step.key,
        "endpoint": trigger.endpoint if trigger else None,
        "methods": sorted(trigger.methods) if trigger and trigger.methods else None,
        "meter": step.meter,
        "limits": {plan: limit_as_json(limit) for plan, limit in step.limits.items()},
        "billed": {plan: billed.dump()["billed"] for plan, billed in step.billed.items()},
        "feature": step.feature,
        "member_limits": {plan: limit_as_json(limit) for plan, limit in step.member_limits.items()},
        "period": step.period,
        "lease": step.lease,
        "enforced": step.enforce,
        "routes": None if routes is None else [{"method": method, "path": path} for method, path in routes],
    }


def _when(step: "CompiledStep") -> str:
    if step.trigger is None:
        return "your code asks (or a route is gated by hand)"
    methods = " or ".join(sorted(step.trigger.methods)) if step.trigger.methods else "any method of"
    return f"{methods} {step.trigger.endpoint} is called"


def _counts(step: "CompiledStep") -> str:
    cost = step.cost
    units = "units as your function says" if callable(cost) else counted(cost, "unit")
    which = "every call, failed ones too" if step.charge == "attempt" else "every call that succeeds"
    counter = "a counter for each route" if step.by_route else f"the meter {step.meter}"
    lease = f"; a process takes up to {step.lease:,} at a time" if step.lease else ""
    return f"{units} for {which}, on {counter}{lease}"


def _limits(step: "CompiledStep") -> str:
    if step.feature is not None:
        return f"none for those who hold the feature {step.feature}, whatever their plan; 0 for others"
    period = period_in_words(step.period)
    if isinstance(step.window, CalendarPeriod):
        period += f" ({step.window.timezone})"
    plans = (f"{plan}: {_units(limit, step.billed.get(plan))}" for plan, limit in step.limits.items())
    said = f"{', '.join(plans)}; {period}"
    shares = ", ".join(f"{plan}: {_units(limit, None)}" for plan, limit in step.member_limits.items())
    return f"{said}; each member of a team {shares}" if shares else said


def _units(limit: int | None, billed: "Billed | None") -> str:
    """A plan's limit, as people read it."""
    if billed is None:
        return shown_limit(limit)
    return billed_units(billed.included, limit)


def billed_units(included: int, cap: int | None) -> str:
    """A limit that is paid for by use, as people read it."""
    return f"{included:,} included, {'no cap' if cap is None else f'cap {cap:,}'}"


def period_in_words(period: str) -> str:
    """A compiled step's period, as people say it."""
    if period in _PERIODS:
        return _PERIODS[period]
    kind, _, rest = period.partition(" ")
    if kind == "rolling":
        return f"in any {rest}"
    return f"per {period}" if rest else f"per {period} from the first use"


def _beyond(step: "CompiledStep") -> str:
    if not step.enforce:
        return "nothing: this loop only watches (enforce=False)"
    asked = f"; {_mail(step.prompt)}, once per window" if step.prompt else ""
    return f'{_statuses(step)} "{step.message}"{asked}'


def _statuses(step: "CompiledStep") -> str:
    if step.status_code is not None:
        return str(step.status_code)
    limits = [0] if step.feature else [limit for limit in step.limits.values() if limit is not None]
    found = sorted({403 if limit == 0 else 402 for limit in limits}) or [402]
    return " or ".join(map(str, found))


def _mail(mail: "EmailAction") -> str:
    return f"e-mail {mail.template}" + (f" through {mail.provider}" if mail.provider else "")
