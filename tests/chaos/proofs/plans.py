"""Whatever becomes of webhooks on their way, a subject's plan ends as Stripe says."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.chaos.frame.fleet import fresh_database
from tests.chaos.frame.orders import EVENTS, ORDERS, Receiver, deal, deliveries, live
from tests.chaos.proof import Finding, Proof, Trial, exactly
from tests.runtime.till import PLANS, NewestWins

__all__ = ["PROOFS"]


def _orders(trial: Trial) -> list[int]:
    return sorted(trial.random().sample(range(len(ORDERS)), trial.take(4, len(ORDERS))))


async def orders(trial: Trial) -> Sequence[Finding]:
    """Orders of five events, each with one of them once more, at two receivers at once."""
    clock = ManualClock()
    fake = FakeStripe(now=clock.now, prices=PLANS)
    dealt, right, answers = 0, 0, set[int]()
    async with fresh_database() as dsn, AsyncExitStack() as stack:
        receivers = [Receiver(fake, dsn, clock) for _ in range(2)]
        for one in receivers:
            await stack.enter_async_context(one.skene)
        for number in _orders(trial):
            for again, sequence in enumerate(deliveries(number)):
                life = await live(fake, f"user {number} {again}")
                answers |= await deal(fake, life, sequence, receivers)
                held = await receivers[0].skene.storage.get_customer(life.subject)
                right += held is not None and (held.plan, held.paying) == ("pro", True)
                dealt += 1
        (row,) = await receivers[0].skene.funnel()
    return [
        exactly("people whose plan is Stripe's", right, dealt),
        exactly("conversions", row.conversions, dealt),
        exactly("answers other than 200", len(answers - {200}), 0),
    ]


async def newest_wins(trial: Trial) -> Sequence[Finding]:
    """The same with a receiver that believes the newest event."""
    life = await live(FakeStripe(now=ManualClock().now, prices=PLANS), "ada")
    dealt, right, conversions = 0, 0, 0
    for number in _orders(trial):
        for sequence in deliveries(number):
            naive = NewestWins()
            for index in sequence:
                naive.receive(life.events[index])
            right += naive.plan == "pro"
            conversions += naive.conversions
            dealt += 1
    return [
        exactly("people whose plan is Stripe's", right, dealt),
        exactly("conversions", conversions, dealt),
    ]


PROOFS = (
    Proof(
        key="webhooks",
        claim="Webhooks that are doubled, reordered and of one second end in the plan that Stripe says.",
        faults=("webhook-twice", "webhooks-reordered", "webhooks-at-once", "webhooks-same-second"),
        numbers=f"{len(ORDERS)} orders of {EVENTS} events, each five times with one doubled, 2 receivers",
        try_ours=orders,
        control="the event created last wins",
        try_control=newest_wins,
    ),
)
