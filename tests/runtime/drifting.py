"""A till of whose customers something else is kept than Stripe says."""

from datetime import timedelta

from tests.runtime.till import Till

FAST = 100_000


def calls(till: Till, path: str = "/v1/") -> int:
    return sum(call.path.startswith(path) for call in till.stripe.requests)


async def drifted(till: Till, count: int) -> dict[str, str]:
    """Customers of whom something else is kept than Stripe says, of every kind; and what they should hold."""
    till.listen()
    people = [f"user-{n:04}" for n in range(count)]
    for n, one in enumerate(people):
        if n % 5:
            await till.stripe.subscribe(one, "price_starter")
    till.stripe.webhooks_dropped = True
    till.clock.advance(timedelta(hours=1))
    plans: dict[str, str] = {}
    for n, one in enumerate(people):
        match n % 5:
            case 0:
                await till.stripe.subscribe(one, "price_pro")
            case 1:
                await till.stripe.cancel(one)
            case 2:
                await till.stripe.switch_price(one, "price_pro")
            case 3:
                await till.stripe.delete_customer(one)
            case _:
                till.stripe._state.replace_price(till.stripe._subscription(one), None, "price_starter", 7)
        plans[one] = ("pro", "free", "pro", "free", "starter")[n % 5]
    return plans


def held(till: Till, plans: dict[str, str]) -> dict[str, str]:
    return {one: till.plan(one) for one in plans}
