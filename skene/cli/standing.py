"""How a subject stands: decisions, grants and other limits, as cells of tables and as data."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from skene.cli.output import instant, limit_as_json, shown_limit
from skene.cli.words import billed_units

if TYPE_CHECKING:
    from skene.engine.decision import Decision
    from skene.ports.grants import Granted
    from skene.ports.overrides import Overridden

__all__ = [
    "decision_as_json",
    "decision_row",
    "grant_as_json",
    "grant_row",
    "override_as_json",
    "override_row",
]

_NONE = "–"


def decision_as_json(one: "Decision") -> dict[str, Any]:
    """How a counter stands, as data."""
    counts = ("step", "meter", "member", "plan", "limit", "used", "remaining")
    names = (*counts, "period", "window_start", "resets_at", "included", "billed_units")
    return {"allowed": one.allowed, **{name: getattr(one, name) for name in names}}


def override_as_json(one: "Overridden", now: datetime) -> dict[str, Any]:
    """Another limit, as data."""
    names = ("meter", "limit", "set_at", "expires_at", "ended_at", "reason")
    told = {name: getattr(one, name) for name in names}
    return {**told, "limit": limit_as_json(one.limit), "in_force": one.in_force(now)}


def override_row(one: "Overridden", now: datetime) -> list[str]:
    """Another limit, as cells."""
    holds = "yes" if one.in_force(now) else "no"
    return [
        instant(one.set_at),
        one.meter,
        shown_limit(one.limit),
        holds,
        instant(one.expires_at),
        one.reason or _NONE,
    ]


def grant_as_json(one: "Granted") -> dict[str, Any]:
    """A grant, as data."""
    names = ("key", "meter", "units", "spent", "granted_at", "expires_at", "reason", "loop")
    return {name: getattr(one, name) for name in names}


def grant_row(one: "Granted") -> list[str]:
    """A grant, as cells."""
    counts = [one.meter, str(one.units), str(one.spent)]
    return [instant(one.granted_at), *counts, instant(one.expires_at), one.reason or one.loop or "–"]


def decision_row(one: "Decision") -> list[str]:
    """How a counter stands, as cells."""
    limit, remaining = ("unlimited", "–") if one.limit is None else (str(one.limit), str(one.remaining))
    if one.included is not None:
        limit = billed_units(one.included, one.limit)
    unopened = one.window_start is not None and one.window_start == one.decided_at
    resets = "not open yet" if unopened else instant(one.resets_at)
    return [one.step, one.meter, one.plan, limit, str(one.used), remaining, one.period, resets]
