"""What the parts of the suite share: the fixtures an adapter gives, and short ways to say what happens."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import anyio
import pytest

from skene.engine.standing import Standing, Subscription
from skene.engine.window import Anchored, WindowRule
from skene.ports.accounts import Applied, Ticket, Update
from skene.ports.counters import Charge, Consume, Counted, Draft, Notice
from skene.ports.ledger import Wall
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock

__all__ = [
    "ATTRIBUTION",
    "FREE",
    "MICROSECOND",
    "MONTH",
    "PAYING",
    "THIRTY_DAYS",
    "TRIAL",
    "ConformanceBase",
    "StorageFactory",
    "apply",
    "call",
    "charge",
    "conversions",
    "draft",
    "gather",
    "notice",
    "refuse_once",
    "set_plan",
    "update",
    "used",
    "wall",
]

T = TypeVar("T")

StorageFactory = Callable[[], Awaitable[Storage]]
"""Opens one more storage over the same, at first empty data, as another process would.

The fixture closes it."""

MONTH = timedelta(days=30)
MICROSECOND = timedelta(microseconds=1)
THIRTY_DAYS = Anchored(MONTH)
ATTRIBUTION = timedelta(days=30)
FREE = Standing("free")
PAYING = Standing("paid", paying=True)
TRIAL = Standing("paid", paying=False)


class ConformanceBase:
    """The fixtures the suite runs on."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock that `storage` is built with."""
        return ManualClock()

    @pytest.fixture
    def storage(self) -> Storage:
        """A started, empty storage that takes its time from `clock`. The adapter's test class gives it."""
        raise pytest.UsageError(f"{type(self).__name__} must define the fixture `storage`")

    @pytest.fixture
    def storage_factory(self) -> StorageFactory:
        """Opens storages with the real clock that share their data; see `StorageFactory`."""
        raise pytest.UsageError(f"{type(self).__name__} must define the fixture `storage_factory`")


def charge(
    limit: int | Mapping[str, int | None] | None = 100,
    *,
    cost: int = 1,
    meter: str = "calls",
    step: str = "freemium.0",
    rule: WindowRule = THIRTY_DAYS,
) -> Charge:
    """A charge; a plain limit is that of the free plan, and the paid one is unlimited."""
    limits = limit if isinstance(limit, Mapping) else {"free": limit, "paid": None}
    return Charge(step, meter, cost, limits, rule)


def call(
    *charges: Charge, subject: str = "ada", key: str | None = None, fingerprint: str = "POST /calls"
) -> Consume:
    """A call that takes the charges; one unit of 100 if none is given."""
    return Consume(subject, "free", charges or (charge(),), key, fingerprint if key else "")


async def used(storage: Storage, item: Charge | None = None, subject: str = "ada") -> int:
    """Units used now."""
    counted = await storage.peek(call(item or charge(), subject=subject))
    return counted.tallies[0].used


def wall(
    clock: ManualClock,
    name: str = "w1",
    *,
    lasts: timedelta = MONTH,
    subject: str = "ada",
    plan: str = "free",
    loop: str = "freemium",
    step: str = "freemium.0",
    held_out: bool = False,
    shadow: bool = False,
) -> Wall:
    """A wall whose window opens now."""
    now = clock.now()
    return Wall(name, loop, step, subject, plan, "calls", 100, 100, now, now + lasts, held_out, shadow)


def draft(
    key: str = "upgrade_prompt:1", *, subject: str = "ada", plan: str = "free", wall: str | None = None
) -> Draft:
    """A message that asks to upgrade."""
    return Draft(
        key=key,
        kind="upgrade_prompt",
        loop="freemium",
        step="freemium.0",
        subject=subject,
        plan=plan,
        channel="resend",
        template="upgrade_prompt",
        data={"message": "You've reached your limit.", "limit": 100, "resets_at": None},
        wall=wall,
    )


def notice(counted: Counted, *names: str, drafts: tuple[Draft, ...] = (), subject: str = "ada") -> Notice:
    """Warnings for the window of a call's first counter."""
    tally = counted.tallies[0]
    return Notice(subject, tally.charge.meter, counted.plan, tally.start, names, drafts)


async def refuse_once(
    storage: Storage, clock: ManualClock, *, subject: str = "ada", wall_id: str = "w1"
) -> str:
    """Stop a subject at a wall, with the message that asks to upgrade."""
    return await storage.open_wall(
        wall(clock, wall_id, subject=subject),
        (draft(f"upgrade_prompt:{wall_id}", subject=subject, wall=wall_id),),
    )


def update(
    ticket: Ticket | None,
    standing: Standing = PAYING,
    *,
    subject: str | None = "ada",
    amount: int | None = 1900,
    currency: str | None = "eur",
    event: str | None = None,
    cycle: tuple[datetime, ...] = (),
    email: str | None = "ada@example.test",
    attribution: timedelta = ATTRIBUTION,
) -> Update:
    """What a fetch said."""
    assert ticket is not None, "begin_sync gave no ticket"
    if standing.plan != "free" and standing.subscription is None:
        paid = Subscription("sub_1", "active", standing.plan, amount=amount, currency=currency)
        standing = replace(standing, subscription=paid)
    return Update(ticket, subject, standing, "free", attribution, "[]", cycle, email, event, "changed")


async def apply(
    storage: Storage,
    standing: Standing = PAYING,
    *,
    customer: str = "cus_ada",
    subject: str | None = "ada",
    event: str | None = None,
    attribution: timedelta = ATTRIBUTION,
    cycle: tuple[datetime, ...] = (),
    email: str | None = "ada@example.test",
) -> Applied:
    """Fetch and apply, as one webhook does."""
    ticket = await storage.begin_sync(customer, event)
    return await storage.apply_billing(
        update(
            ticket,
            standing,
            subject=subject,
            event=event,
            attribution=attribution,
            cycle=cycle,
            email=email,
        )
    )


async def set_plan(storage: Storage, standing: Standing, *, subject: str = "ada") -> Applied:
    """Set a plan by hand."""
    return await storage.set_plan(subject, standing, default_plan="free", attribution=ATTRIBUTION)


async def conversions(storage: Storage) -> int:
    """How many conversions there are, credited or not."""
    return sum(row.conversions for row in await storage.funnel())


async def gather(calls: Iterable[Callable[[], Awaitable[T]]], *, seconds: float = 60) -> list[T]:
    """Run calls all at once; a deadlock fails instead of hanging."""
    results: list[T] = []

    async def run(one: Callable[[], Awaitable[T]]) -> None:
        results.append(await one())

    with anyio.fail_after(seconds):
        async with anyio.create_task_group() as group:
            for one in calls:
                group.start_soon(run, one)
    return results
