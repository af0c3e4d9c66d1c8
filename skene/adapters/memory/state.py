"""What a MemoryStorage keeps, and what its parts share."""

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import heappush
from typing import Any, Protocol

from skene.adapters.memory.packed import Packed
from skene.adapters.memory.table import Table
from skene.engine.bill import Bill
from skene.engine.grants import Pot
from skene.engine.limits import OwnLimit
from skene.engine.spent import nanos
from skene.engine.standing import Standing
from skene.engine.window import EPOCH
from skene.ports.accounts import Update
from skene.ports.clock import Clock
from skene.ports.contacts import Suppressed, Suppression
from skene.ports.counters import Draft
from skene.ports.firings import CONVERTED, GOAL_REACHED, UNSUBSCRIBED, DecisionRow, FiringState, NewFiring
from skene.ports.grants import Grant
from skene.ports.ledger import Wall
from skene.ports.notifier import Body
from skene.ports.outbox import MessageState
from skene.ports.overrides import Overridden
from skene.ports.syncs import SyncRun


@dataclass(slots=True)
class Holder:
    """A subject that billing has heard of. `standing` is None while it is only linked.

    `merged_into` names who is counted in its place, since `merged_at`.
    """

    customer: str | None = None
    standing: Standing | None = None
    default: str = ""
    cycle: tuple[datetime, ...] = ()
    email: str | None = None
    checked_at: datetime | None = None
    features: tuple[str, ...] = ()
    own_limits: dict[str, OwnLimit] | None = None  # by meter
    merged_into: str | None = None
    merged_at: datetime | None = None

    def plain_plan(self, default: str, now: int) -> str | None:
        """The plan that counts, if nothing else that is known of the subject does; None: look closer.

        Args:
            default: the plan of those who hold none.
            now: nanoseconds since 1970.
        """
        if self.merged_into is not None or self.own_limits is not None:
            return None
        standing = self.standing
        if standing is None:
            return default
        return standing.plan if standing.until is None or now < nanos(standing.until - EPOCH) else None

    def standing_at(self, now: datetime) -> Standing | None:
        """What the subject holds at `now`."""
        return self.standing and self.standing.at(now, self.default)


@dataclass(slots=True)
class GrantRow:
    """A grant, and what it holds."""

    grant: Grant
    granted_at: datetime
    pot: Pot


@dataclass(frozen=True, slots=True)
class PastWindow:
    """A window that is over, with use that goes on a bill."""

    end: datetime
    used: int
    bill: Bill


@dataclass(slots=True)
class Payer:
    """A customer of the billing service, and the last that was heard of it."""

    subject: str | None = None
    drawn: int = 0
    applied: int = 0
    update: Update | None = None
    verified_at: datetime | None = None


@dataclass(slots=True)
class WallRow:
    """A wall and what came of it."""

    wall: Wall
    opened_at: datetime
    prompted: bool = False
    clicked_at: datetime | None = None
    checkout_at: datetime | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """A subject began to pay; amounts in the currency's minor unit."""

    subject: str
    at: datetime
    wall: str | None
    amount: int | None
    currency: str | None
    number: int
    loop: str | None
    plan: str
    again: bool
    ended_at: datetime | None = None
    refunds: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def refunded(self) -> int:
        """What was given back since."""
        return sum(self.refunds.values())


@dataclass(slots=True)
class MessageRow:
    """A message of the outbox. `begun` is the claim whose attempt has not been settled."""

    id: int
    draft: Draft
    due: datetime
    created_at: datetime
    state: MessageState = MessageState.PENDING
    claim: int = 0
    begun: int | None = None
    failures: int = 0
    body: Body | None = None
    first_attempt_at: datetime | None = None
    reason: str | None = None
    provider_id: str | None = None
    settled_at: datetime | None = None


@dataclass(slots=True)
class FiringRow:
    """A firing; `due` says when it may be claimed, while it is on its way."""

    id: int
    new: NewFiring
    tick: datetime | None
    occurred_at: datetime
    due: datetime
    state: FiringState = FiringState.PENDING
    claim: int = 0
    failures: int = 0
    deadline: datetime | None = None
    reason: str | None = None
    settled_at: datetime | None = None
    goal_at: datetime | None = None


@dataclass(slots=True)
class Schedule:
    """The ticks of a step, ascending: which were recorded, and of which the rows were read to the end."""

    ticks: deque[datetime] = field(default_factory=deque[datetime])
    scanned: list[datetime] = field(default_factory=list[datetime])


@dataclass(slots=True)
class Recipient:
    """Somebody whom a step acted upon. `firing` is the one that did so last."""

    fired_at: datetime
    fires: int
    firing: int
    seen: datetime | None


@dataclass(frozen=True, slots=True)
class JourneyRow:
    """One subject's way through a loop, and what came of it."""

    id: str
    loop: str
    subject: str
    begun_at: datetime
    within: timedelta | None = None
    held_out: bool = False
    shadow: bool = False
    prompted_at: datetime | None = None
    clicked_at: datetime | None = None
    goal_at: datetime | None = None


@dataclass(slots=True)
class SyncRow:
    """The comparison with the billing service."""

    run: SyncRun
    lease_until: datetime | None = None
    finished: bool = False


@dataclass(slots=True)
class Key:
    """An admitted idempotency key."""

    fingerprint: str
    at: datetime
    repeated: bool = False


class Ticks(Protocol):
    """Says the time as a number."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        ...


class _Told:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def time_ns(self) -> int:
        return nanos(self._clock.now() - EPOCH)


class State:
    """Everything, in plain dictionaries. Only `prune` awaits, so each verb is atomic among one loop's tasks.

    Heaps may hold entries of rows that are due at another time by now, or gone; whoever takes them drops
    them.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        # A clock that can say the time as a number is spared making an object of it.
        self.ticks: Ticks = getattr(clock, "ticks", None) or _Told(clock)
        # By meter and plan, then by subject: a subject costs one entry and one integer.
        self.counters: dict[tuple[str, str], Table[Packed]] = {}
        self.keys = Table[dict[str, Key]]()  # by subject, then by idempotency key
        self.grants: dict[str, list[GrantRow]] = {}  # by subject, oldest first
        self.last_grant = 0
        self.overrides: dict[str, list[Overridden]] = {}  # by subject, oldest first
        # By meter and plan, then by subject: only of those with use that goes on a bill, as are past windows.
        self.bills: dict[tuple[str, str], dict[str, Bill]] = {}
        self.past: dict[tuple[str, str], dict[tuple[str, datetime], PastWindow]] = {}
        self.holders: dict[str, Holder] = {}  # by subject
        self.aliases: dict[str, list[str]] = {}  # by subject: those that were merged into it
        self.payers: dict[str, Payer] = {}  # by customer
        self.blocked: set[bytes] = set()  # digests of forgotten customers
        self.events: dict[str, datetime] = {}  # webhooks that were dealt with, and when they came
        self.walls: dict[str, WallRow] = {}
        self.standing: dict[str, dict[tuple[str, str], WallRow]] = {}  # by subject, step and plan: the latest
        self.conversions: list[Conversion] = []
        self.converted: dict[str, int] = {}  # by subject: how many conversions there were after the latest
        self.spells: dict[str, list[int]] = {}  # by subject: the places of their conversions
        self.opened: dict[str, list[WallRow]] = {}  # by subject: all of their walls
        self.messages: dict[int, MessageRow] = {}
        self.open: dict[int, MessageRow] = {}  # those on their way, oldest first
        # Heaps of messages by when they are due: first those that are no marketing, then those that are.
        self.sending: tuple[list[tuple[datetime, int]], list[tuple[datetime, int]]] = ([], [])
        self.draft_keys: set[str] = set()
        self.last_message = 0
        self.marketing: dict[str, list[MessageRow]] = {}  # by subject: what its cap may count
        self.reported: dict[str, MessageRow] = {}  # by the provider's id
        self.paces: dict[str, datetime] = {}  # by channel: when its next turn comes
        self.suppressions: dict[tuple[Suppressed, str | None, str | None], Suppression] = {}
        self.firings: dict[str, FiringRow] = {}  # by key
        self.open_firings: dict[int, FiringRow] = {}  # those on their way
        self.due: list[tuple[datetime, int]] = []  # a heap of firings by when they are due
        self.last_firing = 0
        self.schedules: dict[str, Schedule] = {}  # by step
        self.recipients: dict[str, dict[str, Recipient]] = {}  # by step, then by subject
        self.journeys: dict[str, JourneyRow] = {}
        self.begun: dict[str, int] = {}  # by journey: how many conversions there were when it began
        self.ways: dict[tuple[str, str], list[str]] = {}  # by subject and loop: ids of journeys
        self.lapses: list[tuple[datetime, str]] = []  # a heap of subjects, by the end of their plan
        self.changes = 0  # of plans that watchers heard of
        self.log: deque[DecisionRow] = deque()
        self.sync: SyncRow | None = None

    def table(self, meter: str, plan: str) -> Table[Packed]:
        """The counters of a meter, of those who hold a plan."""
        found = self.counters.get((meter, plan))
        if found is None:
            found = self.counters[meter, plan] = Table()
        return found

    def living(self, subject: str) -> str:
        """Whom a subject counts as: itself, unless it was merged into somebody."""
        return self.resolve(subject)[0]

    def resolve(self, subject: str) -> tuple[str, Holder | None]:
        """Who is counted for a subject, and what billing has said of them."""
        holder = self.holders.get(subject)
        if holder is None or holder.merged_into is None:
            return subject, holder
        return holder.merged_into, self.holders.get(holder.merged_into)

    def pots(self, subject: str, meter: str) -> list[Pot]:
        """What the grants for one counter hold."""
        rows = self.grants.get(subject)
        return [row.pot for row in rows if row.grant.meter == meter] if rows else []

    def change_pots(self, subject: str, pots: Iterable[Pot]) -> None:
        """Keep what was spent from some of a subject's grants, or given back to them."""
        changed = {pot.number: pot for pot in pots}
        for row in self.grants.get(subject, ()) if changed else ():
            row.pot = changed.get(row.pot.number, row.pot)

    def post(self, drafts: Iterable[Draft], now: datetime) -> None:
        """Put messages into the outbox, each key once."""
        for draft in drafts:
            if draft.key in self.draft_keys:
                continue
            self.draft_keys.add(draft.key)
            self.last_message += 1
            row = MessageRow(self.last_message, replace(draft, data=as_json(draft.data)), now, now)
            self.messages[row.id] = self.open[row.id] = row
            heappush(self.sending[draft.marketing], (row.due, row.id))
            if draft.marketing:
                self.marketing.setdefault(draft.subject, []).append(row)

    def drop_message(self, row: MessageRow) -> None:
        """Take a message out of the outbox as if it had never been there."""
        del self.messages[row.id]
        self.open.pop(row.id, None)
        self.draft_keys.discard(row.draft.key)
        if row.provider_id is not None:
            self.reported.pop(row.provider_id, None)
        if row.draft.marketing:
            rows = self.marketing.pop(row.draft.subject, [])
            left = [one for one in rows if one is not row]
            if left:
                self.marketing[row.draft.subject] = left

    def fire(self, firing: NewFiring, now: datetime, tick: datetime | None = None) -> bool:
        """Record a firing, unless its key is known."""
        if firing.key in self.firings:
            return False
        self.last_firing += 1
        copy = replace(firing, data=as_json(firing.data))
        row = FiringRow(self.last_firing, copy, tick, now, now + firing.after)
        self.firings[firing.key] = self.open_firings[row.id] = row
        heappush(self.due, (row.due, row.id))
        return True

    def over(self, journey: str | None, subject: str, *, marketing: bool) -> str | None:
        """Why nobody wants a journey's message, or None. `marketing`: being unsubscribed ends it, too."""
        if journey is None:
            return None
        row = self.journeys.get(journey)
        if row is not None and row.goal_at is not None and row.goal_at >= row.begun_at:
            return GOAL_REACHED
        # Counted, not timed: a test's clock stands still, and a plan that changes may begin a journey.
        if row is not None and self.converted.get(subject, 0) > self.begun[row.id]:
            return CONVERTED
        return UNSUBSCRIBED if marketing and self.unsubscribed(subject) else None

    def goes_no_further(self, journey: str | None, subject: str) -> str | None:
        """Why a journey does not go on. A goal that came before it has only left it its first step."""
        row = None if journey is None else self.journeys.get(journey)
        if row is not None and row.goal_at is not None:
            return GOAL_REACHED
        return self.over(journey, subject, marketing=True)

    def unsubscribed(self, subject: str) -> bool:
        """Whether a subject wants no marketing mail."""
        return (Suppressed.UNSUBSCRIBED, subject, None) in self.suppressions


class Part:
    """One port's verbs over the shared state."""

    def __init__(self, state: State) -> None:
        self._state = state


def as_json(value: Mapping[str, object]) -> dict[str, Any]:
    """A copy as it would come back from a database."""
    copy: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return copy
