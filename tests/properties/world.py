"""Skene on one store, with a Stripe of its own and a clock that the machine moves."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from anyio.from_thread import BlockingPortal

from skene import Skene, action, billing_cycle, calendar, condition, define_loop, lifetime, rolling, step
from skene.engine.program import for_route
from skene.ports.storage import Storage
from skene.runtime.asks import Ask
from skene.runtime.gate import Admission
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.properties.model import LIMITS, WARN_AT, Asked, Bought
from tests.runtime.shop import Post, profile
from tests.runtime.till import PLANS, answered, billing

__all__ = ["START", "World"]

START = datetime(2026, 1, 30, 21, 30, 15, 535897, tzinfo=UTC)
"""A day before a month ends, in a year in which the next one is short."""

WINDOWS = {
    "rolling": rolling("1h"),
    "month": calendar("month", timezone="Europe/Helsinki"),
    "cycle": billing_cycle(),
    "life": lifetime(),
}


def loops() -> list[Any]:
    """A loop with one step for each meter, named like it."""
    return [
        define_loop(
            type="freemium",
            name=meter,
            steps=[
                step(
                    condition=condition.usage(
                        limit={
                            plan: "unlimited" if limit is None else limit for plan, limit in limits.items()
                        },
                        period=WINDOWS.get(meter, "30d"),
                        meter=meter,
                        **({"group_by": "route"} if meter == "pages" else {}),
                    ),
                    action=action.block(
                        "Limit reached.",
                        upgrade_prompt=action.email("upgrade_prompt", provider="mail"),
                        notify_at=WARN_AT,
                        warning=action.email("usage_warning", provider="mail"),
                    ),
                )
            ],
        )
        for meter, limits in LIMITS.items()
    ]


class World:
    """One app, at the beginning of its time. Everything that waits is run in the portal's loop.

    Args:
        portal: where it lives.
        storage: a started one; others may have been here before.
        clock: the storage's.

    Attributes:
        number: no other world has it.
    """

    numbers = count(1)

    def __init__(self, portal: BlockingPortal, storage: Storage, clock: ManualClock) -> None:
        self.portal, self.storage, self.clock = portal, storage, clock
        self.number = next(self.numbers)
        clock.set(START + timedelta(milliseconds=self.number))  # Stripe's ids are made of it
        self.stripe = FakeStripe(now=clock.now, prices=PLANS)
        clock.set(START)
        self.skene = Skene(
            *loops(),
            storage=self.storage,
            billing=billing(self.stripe),
            notifiers={"mail": Post()},
            profile=profile,
            clock=clock,
        )
        self.stripe.connect(self.receive)
        self.stripe.webhooks_dropped = True
        self.steps = {one.meter: one for one in self.skene.program.steps}

    def __call__(self, verb: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return self.portal.call(verb, *args)

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> int:
        """What the webhook route does."""
        return await answered(self.skene, body, headers)

    def asks(self, asked: Asked) -> list[Ask]:
        """What the gate asks for on a route that these steps stand before."""
        found = []
        for meter, units in asked:
            name, _, route = meter.partition(":")
            found.append(Ask(for_route(self.steps[name], route) if route else self.steps[name], units))
        return found

    async def admit(self, subject: str, asked: Asked, key: str | None, stands_for: str) -> Admission:
        return await self.skene.gatekeeper.admit(
            subject, self.asks(asked), idempotency_key=key, fingerprint=stands_for if key else ""
        )

    def bought(self, customer: str) -> Bought:
        """The best of a customer's subscriptions, straight from Stripe's own books."""
        now, best = self.clock.now(), [Bought()]
        for one in self.stripe._state.tables["subscription"].values():
            if one["customer"] == customer and one["status"] == "active":
                item = one["items"]["data"][0]
                plan = PLANS[item["price"]["id"]]
                start, end = instant(item["current_period_start"]), instant(item["current_period_end"])
                ends = one["cancel_at"] and instant(one["cancel_at"])
                until = ends or datetime(9999, 1, 1, tzinfo=UTC)
                if now < until:
                    best.append(
                        Bought(plan, until, periods(start, end, instant(one["billing_cycle_anchor"])))
                    )
        return max(best, key=lambda one: (["free", "starter", "pro"].index(one.plan), one.until))


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def periods(start: datetime, end: datetime, anchor: datetime) -> tuple[datetime, ...]:
    """The edges of monthly periods: on the anchor's day, or on the last of a month that lacks it."""
    edges = [start, end]
    while len(edges) < 26:
        year, month = divmod(edges[-1].year * 12 + edges[-1].month, 12)
        edges.append(on_day(anchor, year, month + 1))
    return tuple(edges)


def on_day(anchor: datetime, year: int, month: int) -> datetime:
    for day in (anchor.day, 30, 29, 28):
        try:
            return anchor.replace(year=year, month=month, day=min(day, anchor.day))
        except ValueError:
            continue
    raise AssertionError(anchor)
