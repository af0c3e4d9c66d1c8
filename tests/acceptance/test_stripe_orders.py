"""Five events of one subscription, in every order, each of them twice, at two receivers at once.

Stripe moves on while they arrive: an event comes when what it tells of has happened, and perhaps much more
since. Whatever the order, the plan ends as Stripe's, nobody converts twice, and no answer is a 5xx.
"""

from collections import Counter
from contextlib import AsyncExitStack

import pytest

from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.chaos.frame.orders import EVENTS, ORDERS, Receiver, deal, deliveries, live
from tests.runtime.till import PLANS, NewestWins
from tests.support.extent import amount

STEP = amount(3, full=1)
"""The usual run takes every third order, each with all five duplicates; SKENE_TEST_FULL=1 takes all 120."""


def test_there_are_120_orders_and_each_event_comes_twice_in_one_of_five() -> None:
    assert len(ORDERS) == 120
    for number in range(120):
        twice = [[event for event, times in Counter(one).items() if times == 2] for one in deliveries(number)]
        assert twice == [[event] for event in range(EVENTS)]


@pytest.mark.parametrize("part", range(4))
async def test_every_order_with_every_duplicate_ends_in_what_stripe_says(
    part: int, postgres_dsn: str
) -> None:
    clock = ManualClock()
    fake = FakeStripe(now=clock.now, prices=PLANS)
    async with AsyncExitStack() as stack:
        receivers = [Receiver(fake, postgres_dsn, clock) for _ in range(2)]
        await receivers[0].skene.storage.migrate()  # type: ignore[attr-defined] # only SQL stores have it
        for one in receivers:
            await stack.enter_async_context(one.skene)
        orders = range(part, len(ORDERS), 4 * STEP)
        for number in orders:
            for again, sequence in enumerate(deliveries(number)):
                life = await live(fake, f"user {number} {again}")
                assert await deal(fake, life, sequence, receivers) == {200}, sequence
                held = await receivers[0].skene.storage.get_customer(life.subject)
                assert held is not None
                assert (held.plan, held.paying) == ("pro", True), sequence
        (row,) = await receivers[0].skene.funnel()
        assert (row.loop, row.conversions) == (None, len(orders) * EVENTS)


async def test_a_receiver_that_believes_the_newest_event_fails_the_same_check() -> None:
    life = await live(FakeStripe(now=ManualClock().now, prices=PLANS), "ada")
    wrong = twice = 0
    for number in range(len(ORDERS)):
        for sequence in deliveries(number):
            naive = NewestWins()
            for index in sequence:
                naive.receive(life.events[index])
            wrong += naive.plan != "pro"
            twice += naive.conversions > 1
    assert wrong > 0
    assert twice > 0
