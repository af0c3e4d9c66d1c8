"""Counting: the port's hot verbs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from skene.engine.light import light
from skene.engine.spent import Spent
from skene.engine.window import WindowRule

__all__ = [
    "BilledUse",
    "Charge",
    "Consume",
    "Counted",
    "Counters",
    "Draft",
    "Notice",
    "PlainLimit",
    "Receipt",
    "Spend",
    "Spender",
    "Tally",
]


@light
@dataclass(frozen=True, slots=True)
class Charge:
    """One counter that a call takes units from.

    Attributes:
        step: key of the step that asks; walls are told apart by it.
        meter: name of the counter.
        cost: units to take, 1 or more.
        limits: units per window by plan; None is unlimited. The default plan is among them; a plan that is
            not counts as the default plan.
        rule: how the windows lie.
        feature: where subjects who hold this feature have no limit, whatever their plan; else None.
        billed: the plans whose use of it is put on the customer's bill, see `report_billed`.
        watched: nobody is to be refused by it, not even by an override.
    """

    step: str
    meter: str
    cost: int
    limits: Mapping[str, int | None]
    rule: WindowRule
    feature: str | None = None
    billed: tuple[str, ...] = ()
    watched: bool = False


@dataclass(frozen=True, slots=True)
class PlainLimit:
    """What a plain call is held against: a limit in windows of one length, each opened by its first use.

    Attributes:
        meter: name of the counter.
        limits: as in a `Charge`.
        length: of a window, in nanoseconds.
    """

    meter: str
    limits: Mapping[str, int | None]
    length: int


@light
@dataclass(frozen=True, slots=True)
class Consume:
    """A call that wants to be counted.

    Attributes:
        subject: a storable id (see `engine.subject`).
        default_plan: the plan of subjects who hold none.
        charges: every counter involved, each meter at most once; all admit or none is charged.
        idempotency_key: names this call among the subject's (1–64 ASCII characters), or None.
        fingerprint: what the key stands for; another one under the same key is a conflict.
    """

    subject: str
    default_plan: str
    charges: tuple[Charge, ...]
    idempotency_key: str | None = None
    fingerprint: str = ""


@light
@dataclass(frozen=True, slots=True)
class Receipt:
    """Names what was charged, so that it can be given back in the same window (or part of a rolling one)."""

    meter: str
    plan: str
    at: datetime
    cost: int


@light
@dataclass(frozen=True, slots=True)
class Tally:
    """How one counter stands after the decision.

    Attributes:
        charge: what was asked.
        limit: what may be used in the window: the limit on the subject's plan, what grants have paid in this
            window, and `granted`; None if unlimited. See `engine.counter.reported`.
        used: units used in the window; includes the cost if it was charged now.
        fits: this counter alone would admit the call, or did so before (a replay).
        start, end: the window.
        notices: names of the warnings already recorded for this window.
        wall: id of the wall that stands for this step, plan and window, or None. Only looked up when it does
            not fit.
        receipt: set when it was charged.
        granted: units of this counter's grants that can still be spent, limit or not.
    """

    charge: Charge
    limit: int | None
    used: int
    fits: bool
    start: datetime
    end: datetime
    notices: tuple[str, ...] = ()
    wall: str | None = None
    receipt: Receipt | None = None
    granted: int = 0


@light
@dataclass(frozen=True, slots=True)
class Counted:
    """The storage's answer.

    Attributes:
        admitted: every counter fitted and was charged (or the call is a replay).
        replayed: the idempotency key had been admitted before; nothing was charged now.
        now: the storage's clock, aware UTC.
        plan: the plan that was applied.
        held_plan: the plan as recorded, when no limit table knows it and the default was applied; else None.
        customer: the subject's customer id at the billing service, if any.
        checked_at: when the billing service was last asked because of a refusal, or None.
        tallies: one per charge, in their order.
        subject: who was counted: the one the call names, or whom that one was merged into.
    """

    admitted: bool
    replayed: bool
    now: datetime
    plan: str
    held_plan: str | None
    customer: str | None
    checked_at: datetime | None
    tallies: tuple[Tally, ...]
    subject: str

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """What was charged, to be given back; empty after a refusal or a replay."""
        return tuple(tally.receipt for tally in self.tallies if tally.receipt)


_MAILS = ("upgrade_prompt", "usage_warning", "email")


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be put into the outbox.

    Attributes:
        key: unique for ever; a second draft with the same key is dropped.
        kind: `upgrade_prompt` or `usage_warning` for the mails of a limit; `email`, `webhook`, `grant` or
            `function` for the actions of other steps; `usage` for reports of billed use; `event` for what a
            hook is told.
        loop, step, subject, plan: whom and what it is about, empty where it is about none; the plan held when
            it was written.
        channel: name of the notifier, or of the hook.
        template: its template.
        data: what the message is made of, JSON; no storage looks inside.
        wall: the wall it belongs to, or None.
        cancel_on_upgrade: do not send when the subject no longer holds `plan`.
        journey: the journey it belongs to, or None; a mail of a journey that is over is not sent.
        marketing: a mail that people may unsubscribe from, and that caps and quiet hours hold back.
    """

    key: str
    kind: str
    loop: str
    step: str
    subject: str
    plan: str
    channel: str
    template: str
    data: Mapping[str, object]
    wall: str | None = None
    cancel_on_upgrade: bool = True
    journey: str | None = None
    marketing: bool = False

    @property
    def is_mail(self) -> bool:
        """Whether it is an e-mail, and so needs an address."""
        return self.kind in _MAILS


@dataclass(frozen=True, slots=True)
class Notice:
    """Warnings that are due for a window: recorded with their messages, once."""

    subject: str
    meter: str
    plan: str
    window_start: datetime
    names: tuple[str, ...]
    drafts: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class BilledUse:
    """Use that is put on a bill.

    Attributes:
        loop, step: which limit says so.
        meter, plan: the counter.
        included: units of each window that are in the plan's price and not reported.
        billing_meter: the name of the billing service's meter.
    """

    loop: str
    step: str
    meter: str
    plan: str
    included: int
    billing_meter: str


Spend: TypeAlias = Callable[[str, int], Spent | None]
"""Charges a call at once, without anybody having to wait, if `Counters.consume` would admit it.

Takes a subject, as the app names it, and the units to take, 1 or more. Tells how the counter stands, if
nothing more is to be said of it: no warning has been recorded for the window, no grant or limit of the
subject's own has a part in it, the plan is known. None: nothing has happened, and `consume` has the answer;
so it has for every refusal."""


class Spender(Protocol):
    """What a storage may be able to do besides: charge plain calls at once, as a cache or a lease allows."""

    def spender(self, default_plan: str, asked: PlainLimit) -> Spend | None:
        """What charges calls for one limit, by no idempotency key; None: nothing but `consume` does.

        Args:
            default_plan: the plan of subjects who hold none.
            asked: the limit.
        """
        ...


class Counters(Protocol):
    """Counts uses. Time is the storage's own clock, unless it was given one."""

    async def consume(self, call: Consume) -> Counted:
        """Charge a call if every one of its counters admits it, in one atomic step and one round trip.

        A counter fits when the plan's limit is None or `used + cost <= limit`; where the limit leaves no
        room, the subject's grants for the meter pay for what is missing, in the same step (`ports.grants`).
        From any number of tasks, processes and machines, a window is never charged beyond its limit and no
        granted unit is spent twice. A call that is not admitted changes nothing and
        writes
        nothing. The plan is the one recorded for the subject, unless its end has passed. With an idempotency
        key that
        was admitted before, nothing is charged and the counters are reported as they are. Cancelling the
        caller leaves the call either wholly charged or not at all.

        Raises:
            IdempotencyConflict: the key was admitted before with another fingerprint.
            StorageUnavailable: no answer within 2 s; nothing is known to be charged.
        """
        ...

    async def peek(self, call: Consume) -> Counted:
        """What `consume` would answer now, without charging.

        `admitted` says whether it would be; no receipts.

        Raises:
            StorageUnavailable: as above.
        """
        ...

    async def meters(self, subject: str) -> tuple[str, ...]:
        """The names of all counters that are kept for a subject, sorted; some may be of past windows.

        Raises:
            StorageUnavailable: as above.
        """
        ...

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units in the window they were charged in, past windows included.

        Never below zero. What grants paid for in that window goes back to them first, to the one spent from
        last before the others; from a past window nothing does.

        With the key the call had been admitted under, a repetition is charged afresh. If it was repeated
        meanwhile, that repetition went on for free: then nothing is given back, and the key stays. The caller
        calls this once per receipt. Receipts of forgotten subjects are ignored.

        Raises:
            StorageUnavailable: the units may stay charged.
        """
        ...

    async def record_notice(self, notice: Notice) -> bool:
        """Record warnings for a running window and their messages, in one transaction.

        Once per name and window.

        Returns:
            Whether anything was recorded now.
        """
        ...

    async def report_billed(self, use: BilledUse, limit: int) -> int:
        """Put reports of billed use into the outbox, at most `limit`, and remember what they report.

        A window, past ones included, owes `max(0, used - included)`, less what it has reported before; where
        that is not zero and the subject is a customer, one message of the kind `usage` is written in the same
        transaction, to the channel `billing`. Its key is unique for the window and the number of the report;
        its data are `customer`, `meter`, `units` (negative: too much was reported, and given back since) and
        `at`, an instant of the window as ISO 8601.

        Returns:
            How many counters were looked at. Fewer than `limit`: no other is waiting.
        """
        ...
