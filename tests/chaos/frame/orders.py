"""Five events of one subscription, dealt in any order to two receivers who work at the same time."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import anyio
import httpx

from skene import UNLIMITED, Skene, action, condition, define_loop, step
from skene.errors import BillingUnavailable, StorageUnavailable
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from skene.wiring import storage_from
from tests.runtime.till import billing, signed

__all__ = ["EVENTS", "ORDERS", "Late", "Life", "Receiver", "deal", "deliveries", "live"]

EVENTS = 5
ORDERS = list(permutations(range(EVENTS)))

LOOP = define_loop(
    type="freemium",
    steps=[
        step(
            condition=condition.usage(
                limit={"free": 1, "starter": 5, "pro": UNLIMITED}, period="30d", meter="calls"
            ),
            action=action.block("Limit."),
        )
    ],
)


@dataclass(frozen=True)
class Life:
    """What happened to one subject's subscription: the events, and how it was after each of them."""

    subject: str
    subscription: str
    events: list[dict[str, Any]]
    states: list[dict[str, Any]]


async def live(fake: FakeStripe, subject: str) -> Life:
    """It begins unpaid, is paid, and goes up, down and up again, all within one second."""
    seen = len(fake.events)
    states: list[dict[str, Any]] = []
    number = await fake.subscribe(subject, "price_starter", status="incomplete")
    states.append(deepcopy(fake.get(number)))
    await fake.set_status(subject, "active")
    states.append(deepcopy(fake.get(number)))
    for price in ("price_pro", "price_starter", "price_pro"):
        await fake.switch_price(subject, price)
        states.append(deepcopy(fake.get(number)))
    events = [one for one in fake.events[seen:] if one["type"].startswith("customer.subscription.")]
    assert len(events) == len(states) == EVENTS
    assert len({one["created"] for one in events}) == 1
    return Life(subject, number, events, states)


def deliveries(number: int) -> Iterator[tuple[int, ...]]:
    """An order, five times: with each of its events once more, at places that differ from order to order."""
    order = ORDERS[number]
    for duplicate in range(EVENTS):
        place = (number + duplicate) % (EVENTS + 1)
        yield (*order[:place], duplicate, *order[place:])


class Late(httpx.AsyncBaseTransport):
    """The way to Stripe of one receiver: answers can be held until the other has dealt with an event.

    So what was fetched first is applied last.
    """

    def __init__(self, fake: FakeStripe) -> None:
        self._way = httpx.ASGITransport(fake.app)
        self.begin(late=False)

    def begin(self, *, late: bool) -> None:
        """Hold answers from now on, or let them through."""
        self._late, self._held = late, 0
        self.holding, self._go = anyio.Event(), anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._way.handle_async_request(request)
        if self._late:
            self._held += 1
            if self._held == 2:  # the customer, and the subscriptions
                self.holding.set()
            await self._go.wait()
        return answer

    def go_on(self, *, late: bool) -> None:
        """Let the answers that are held through."""
        go = self._go
        self.begin(late=late)
        go.set()


class Receiver:
    """One process of an app, with its own connections."""

    def __init__(self, fake: FakeStripe, dsn: str, clock: ManualClock) -> None:
        self.fake, self.way = fake, Late(fake)
        asks = billing(fake).against(
            api_key=fake.api_key, webhook_secret=fake.webhook_secret, transport=self.way
        )
        self.skene = Skene(LOOP, storage=storage_from(dsn), billing=asks, clock=clock, worker=False)

    async def receive(self, event: dict[str, Any]) -> int:
        try:
            await self.skene.billing_sync.receive(*signed(self.fake, event))
        except (BillingUnavailable, StorageUnavailable):
            return 503
        return 200


async def deal(fake: FakeStripe, life: Life, order: tuple[int, ...], receivers: list[Receiver]) -> set[int]:
    """Deal the events to the receivers, who work at the same time; the answers they gave."""
    latest, answers = 0, set[int]()
    slow, quick = receivers
    slow.way.begin(late=True)

    async def take(receiver: Receiver, index: int) -> None:
        nonlocal latest
        latest = max(latest, index)  # it has happened by now, so Stripe says at least this
        state = fake._state  # pyright: ignore[reportPrivateUsage] - Stripe has no way to go back in time
        state.tables["subscription"][life.subscription] = deepcopy(life.states[latest])
        answers.add(await receiver.receive(life.events[index]))

    async def take_slowly() -> None:
        for index in order[0::2]:
            await take(slow, index)
        slow_is_done.set()
        slow.way.holding.set()

    quick_ones, slow_is_done = order[1::2], anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_slowly)
        for place, index in enumerate(quick_ones, start=1):
            if not slow_is_done.is_set():
                await slow.way.holding.wait()
            await take(quick, index)
            slow.way.go_on(late=place < len(quick_ones))
    return answers
