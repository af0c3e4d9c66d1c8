"""Hooks: what the app's other systems hear of, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from pydantic import JsonValue

from skene.engine.keys import unique_key
from skene.ports.counters import Draft

__all__ = ["Event", "EventKind", "Hook", "event_drafts"]


class EventKind(StrEnum):
    """What happened."""

    WALL_OPENED = "wall.opened"
    PROMPT_SENT = "prompt.sent"
    LINK_CLICKED = "link.clicked"
    CHECKOUT_OPENED = "checkout.opened"
    PLAN_CHANGED = "plan.changed"
    CONVERTED = "subject.converted"
    CHURNED = "subject.churned"
    REFUNDED = "payment.refunded"
    GOAL_REACHED = "goal.reached"
    GRANTED = "units.granted"
    OVERRIDE_SET = "override.set"
    OVERRIDE_ENDED = "override.ended"
    MERGED = "subject.merged"
    BILLING_WARNED = "billing.warned"
    """Something at the billing service that means nothing here, such as a price that maps to no plan."""
    BILLING_SYNCED = "billing.synced"
    """A comparison with the billing service is over; tells what differed and was put right."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, once.

    Attributes:
        id: unique for ever; the same when it is told again.
        kind: what happened.
        subject: whom it concerns; empty if nobody in particular.
        at: when, aware UTC.
        data: what else is known of it; docs/reference/events.md says what for each kind.
    """

    id: str
    kind: EventKind
    subject: str
    at: datetime
    data: Mapping[str, JsonValue]

    @property
    def loop(self) -> str | None:
        """The loop that it is about; None for what is no loop's."""
        name = self.data.get("loop")
        return name if isinstance(name, str) else None


class Hook(Protocol):
    """Takes events, one at a time, in no particular order, from any worker.

    An event is written in the transaction of what it tells of, and told until this is done, for about a day:
    whoever must not take one twice keeps their ids.
    """

    async def handle(self, event: Event) -> None:
        """Take an event, within 10 s. Whatever is raised but `DeliveryRefused` is tried again.

        Raises:
            DeliveryFailed: not taken, worth another try.
            DeliveryRefused: not taken, and never will be.
        """
        ...

    async def aclose(self) -> None:
        """Release connections. May be called twice."""
        ...


def event_drafts(
    hooks: tuple[str, ...],
    kind: EventKind,
    subject: str,
    at: datetime,
    data: Mapping[str, JsonValue],
    *about: str,
) -> tuple[Draft, ...]:
    """The messages that tell hooks of an event.

    Args:
        hooks: names of those who listen.
        kind, subject, at, data: as in `Event`.
        about: what makes it one event among those of its kind, e.g. the wall's id.
    """
    if not hooks:
        return ()
    told = {"id": unique_key(kind, *about), "at": at.isoformat(), "data": dict(data)}
    return tuple(
        Draft(
            key=unique_key("event", hook, kind, *about),
            kind="event",
            loop="",
            step="",
            subject=subject,
            plan="",
            channel=hook,
            template=kind,
            data=told,
            cancel_on_upgrade=False,
        )
        for hook in hooks
    )
