"""What hooks are told of plans and payments: said once, so that every storage tells the same."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from skene.engine.keys import digest
from skene.ports.counters import Draft
from skene.ports.hooks import EventKind, event_drafts

__all__ = ["Spell", "churned", "converted", "goal_reached", "plan_changed", "refunded"]


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which a subject pays, from its conversion on.

    Attributes:
        number: the conversion's, unique in its storage.
        subject, wall, loop, plan, amount, currency, converted_at, again: as in `ports.ledger.Conversion`.
    """

    number: int
    subject: str
    wall: str | None
    loop: str | None
    plan: str
    amount: int | None
    currency: str | None
    converted_at: datetime
    again: bool

    @property
    def about(self) -> tuple[str, ...]:
        """What makes it one among all, also those of other databases."""
        return str(self.number), self.converted_at.isoformat()


def converted(hooks: tuple[str, ...], spell: Spell, at: datetime) -> tuple[Draft, ...]:
    """A subject has begun to pay; `at` is when that became known."""
    data: dict[str, JsonValue] = {
        "conversion": spell.number,
        "plan": spell.plan,
        "wall": spell.wall,
        "loop": spell.loop,
        "amount": spell.amount,
        "currency": spell.currency,
        "converted_at": spell.converted_at.isoformat(),
        "again": spell.again,
    }
    return event_drafts(hooks, EventKind.CONVERTED, spell.subject, at, data, *spell.about)


def churned(hooks: tuple[str, ...], spell: Spell, ended_at: datetime, at: datetime) -> tuple[Draft, ...]:
    """A subject has stopped paying; `at` is when that became known."""
    data: dict[str, JsonValue] = {
        "conversion": spell.number,
        "plan": spell.plan,
        "loop": spell.loop,
        "converted_at": spell.converted_at.isoformat(),
        "ended_at": ended_at.isoformat(),
    }
    return event_drafts(hooks, EventKind.CHURNED, spell.subject, at, data, *spell.about)


def plan_changed(
    hooks: tuple[str, ...], subject: str, before: str, after: str, at: datetime, name: str
) -> tuple[Draft, ...]:
    """A subject's plan is another one; `name` makes it one change among the subject's."""
    # The subject as a digest, since keys outlive people.
    about = (digest(subject).hex(), name)
    data: dict[str, JsonValue] = {"from": before, "to": after}
    return event_drafts(hooks, EventKind.PLAN_CHANGED, subject, at, data, *about)


def refunded(
    hooks: tuple[str, ...],
    subject: str,
    spell: Spell | None,
    payment: str,
    amount: int,
    currency: str,
    at: datetime,
) -> tuple[Draft, ...]:
    """More of a payment was given back; `amount` is all that ever was, `spell` what it counts with."""
    data: dict[str, JsonValue] = {
        "payment": payment,
        "amount": amount,
        "currency": currency,
        "conversion": spell.number if spell else None,
        "loop": spell.loop if spell else None,
    }
    return event_drafts(hooks, EventKind.REFUNDED, subject, at, data, payment, str(amount))


def goal_reached(
    hooks: tuple[str, ...],
    subject: str,
    at: datetime,
    *,
    journey: str,
    loop: str,
    held_out: bool,
    shadow: bool,
) -> tuple[Draft, ...]:
    """A journey has reached its loop's goal."""
    data: dict[str, JsonValue] = {"loop": loop, "journey": journey, "held_out": held_out, "shadow": shadow}
    return event_drafts(hooks, EventKind.GOAL_REACHED, subject, at, data, journey)
