"""What a MemoryStorage keeps, and what its parts share."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from skene.engine.counter import Counter
from skene.engine.grants import Pot
from skene.engine.standing import Standing
from skene.engine.window import EPOCH
from skene.ports.accounts import Update
from skene.ports.clock import Clock
from skene.ports.counters import Draft
from skene.ports.grants import Grant
from skene.ports.ledger import Wall
from skene.ports.notifier import Body
from skene.ports.outbox import MessageState

_MICROSECOND = timedelta(microseconds=1)
_WIDTH = 60
_MASK = (1 << _WIDTH) - 1

Packed = int | Counter
"""A counter at rest. A plain window fits into one integer, a fifth of the object's size."""


def pack(counter: Counter) -> Packed:
    """Fold a counter; one with parts, notices or grants, of which there are few, stays as it is."""
    if counter.parts or counter.notices or counter.extra or counter.start < EPOCH:
        return counter
    start, end = (counter.start - EPOCH) // _MICROSECOND, (counter.end - EPOCH) // _MICROSECOND
    return (counter.used << _WIDTH | start) << _WIDTH | end


def unpack(packed: Packed | None) -> Counter | None:
    """The counter that was packed."""
    if not isinstance(packed, int):
        return packed
    start, end = packed >> _WIDTH & _MASK, packed & _MASK
    return Counter(EPOCH + timedelta(0, 0, start), EPOCH + timedelta(0, 0, end), packed >> 2 * _WIDTH)


@dataclass(slots=True)
class Holder:
    """A subject that billing has heard of. `standing` is None while it is only linked."""

    customer: str | None = None
    standing: Standing | None = None
    default: str = ""
    cycle: tuple[datetime, ...] = ()
    email: str | None = None
    checked_at: datetime | None = None

    def standing_at(self, now: datetime) -> Standing | None:
        """What the subject holds at `now`."""
        return self.standing and self.standing.at(now, self.default)


@dataclass(slots=True)
class GrantRow:
    """A grant, and what it holds."""

    grant: Grant
    granted_at: datetime
    pot: Pot


@dataclass(slots=True)
class Payer:
    """A customer of the billing service, and the last that was heard of it."""

    subject: str | None = None
    drawn: int = 0
    applied: int = 0
    update: Update | None = None


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
    """A subject began to pay; amount in the currency's minor unit."""

    subject: str
    at: datetime
    wall: str | None
    amount: int | None
    currency: str | None


@dataclass(slots=True)
class MessageRow:
    """A message of the outbox. `begun` is the claim whose attempt has not been settled."""

    id: int
    draft: Draft
    due: datetime
    state: MessageState = MessageState.PENDING
    claim: int = 0
    begun: int | None = None
    failures: int = 0
    body: Body | None = None
    first_attempt_at: datetime | None = None
    reason: str | None = None
    provider_id: str | None = None


@dataclass(slots=True)
class Key:
    """An admitted idempotency key."""

    fingerprint: str
    at: datetime
    repeated: bool = False


class State:
    """Everything, in plain dictionaries. No verb awaits, so each is atomic among one event loop's tasks."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        # By meter and plan, then by subject: a subject costs one entry and one integer.
        self.counters: dict[tuple[str, str], dict[str, Packed]] = {}
        self.keys: dict[str, dict[str, Key]] = {}  # by subject, then by idempotency key
        self.grants: dict[str, list[GrantRow]] = {}  # by subject, oldest first
        self.last_grant = 0
        self.holders: dict[str, Holder] = {}  # by subject
        self.payers: dict[str, Payer] = {}  # by customer
        self.blocked: set[bytes] = set()  # digests of forgotten customers
        self.events: dict[str, str] = {}
        self.walls: dict[str, WallRow] = {}
        self.standing: dict[str, dict[tuple[str, str], WallRow]] = {}  # by subject, step and plan: the latest
        self.conversions: list[Conversion] = []
        self.messages: dict[int, MessageRow] = {}
        self.open: dict[int, MessageRow] = {}  # those on their way, oldest first
        self.draft_keys: set[str] = set()
        self.last_message = 0

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
            row = MessageRow(self.last_message, replace(draft, data=as_json(draft.data)), now)
            self.messages[row.id] = self.open[row.id] = row


class Part:
    """One port's verbs over the shared state."""

    def __init__(self, state: State) -> None:
        self._state = state


def as_json(value: Mapping[str, object]) -> dict[str, Any]:
    """A copy as it would come back from a database."""
    copy: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return copy
