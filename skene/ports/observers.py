"""Observers: what is told in the process of work that goes on there, such as traces and metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from skene.engine.decision import Decision

__all__ = ["Observer", "Work", "WorkKind"]


class WorkKind(StrEnum):
    """What goes on."""

    DECISION = "decision"
    """A call is charged and decided; over HTTP or by `consume` and `reserve`."""
    GIVE_BACK = "give_back"
    """What a failed call took is given back, or what a hold did not use."""
    DELIVERY = "delivery"
    """One attempt to deliver a message: a mail, a webhook, an event to a hook."""
    FIRING = "firing"
    """What a trigger has set off is looked at."""


@dataclass(slots=True)
class Work:
    """A piece of work; most of it is known when it is over.

    Attributes:
        kind: what goes on.
        loop, step: whose; empty where it is no loop's.
        meter: of decisions and of what is given back, the counter.
        channel, template: of a delivery: the notifier or hook, and what it sends.
        subject: whom it concerns. There are as many as the app has users: no label of a metric.
        plan: the one that was decided by.
        outcome: of a decision its reason, of a delivery the state of the message, else `done`; the error's
            kind where it failed. Of a few words each.
        allowed: of a decision, whether the call may go on.
        units: taken, or given back.
        seconds: how long it took.
        error: what was raised.
    """

    kind: WorkKind
    loop: str
    step: str
    subject: str
    meter: str | None = None
    channel: str | None = None
    template: str | None = None
    plan: str | None = None
    outcome: str = "done"
    allowed: bool | None = None
    units: int = 0
    seconds: float = 0.0
    error: BaseException | None = None

    def decided(self, decision: Decision) -> None:
        """Take over what a decision says."""
        self.loop, self.step, self.plan = decision.loop, decision.step, decision.plan
        member = decision.member
        # A member's counter has a person in its name.
        self.meter = decision.meter if member is None else decision.meter.removesuffix(f"@{member}")
        self.outcome, self.allowed = str(decision.reason), decision.allowed
        self.units = decision.cost if decision.allowed else 0

    @property
    def labels(self) -> dict[str, str]:
        """What is known of it that has few values: no subject, no message, no id."""
        named = {
            "loop": self.loop,
            "step": self.step,
            "meter": self.meter,
            "channel": self.channel,
            "template": self.template,
            "plan": self.plan,
            "outcome": self.outcome,
        }
        return {name: value for name, value in named.items() if value}


class Observer(Protocol):
    """Is told of work when it begins and when it is over, in the task that does it.

    It must not wait: it stands in every call's way. Whatever it raises is logged, and the work goes on. What
    it was told is lost with the process; for what must not be lost there are hooks.
    """

    def begin(self, work: Work) -> Callable[[], None]:
        """Be told that something begins.

        Args:
            work: what is known of it so far.

        Returns:
            What is called when it is over; `work` then has all the rest.
        """
        ...
