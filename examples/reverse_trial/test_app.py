from datetime import UTC, datetime

from httpx import AsyncClient
from skene_config import skene

from skene.testing import World


async def sign_up(client: AsyncClient, world: World) -> None:
    """On 1 January at noon, as every world begins."""
    answer = await client.post("/users", json={"name": "ada", "email": "ada@acme.test"})
    assert answer.json() == {"trial_until": "2026-01-15T12:00:00+00:00"}
    await world.drain()


async def pass_days(world: World, days: int) -> None:
    for _ in range(days):
        world.clock.advance("1d")
        await world.drain()


async def reports(client: AsyncClient, number: int) -> list[int]:
    return [(await client.post("/reports")).status_code for _ in range(number)]


async def test_everything_for_fourteen_days_then_the_free_limits(client: AsyncClient, world: World) -> None:
    await sign_up(client, world)
    assert await reports(client, 10) == [201] * 10
    world.clock.advance("13d23h59m59s")
    assert await reports(client, 10) == [201] * 10
    world.clock.advance("1s")
    assert world.plan("ada") == "free"
    assert await reports(client, 4) == [201, 201, 201, 402]  # what was used on trial does not count


async def test_one_mail_three_days_before_the_end_and_one_after_it(client: AsyncClient, world: World) -> None:
    await sign_up(client, world)
    assert world.sent("ada") == ["trial_started"]
    await pass_days(world, 10)
    assert world.sent("ada") == ["trial_started"]
    await pass_days(world, 1)
    (mail,) = world.mails("ada")[1:]
    assert (mail.template, mail.subject) == ("trial_ending", "Your trial ends on 15 January 2026")
    assert world.clock.now() == datetime(2026, 1, 12, 12, tzinfo=UTC)
    await pass_days(world, 30)
    assert world.sent("ada") == ["trial_started", "trial_ending", "trial_over"]
    assert world.conversions() == []


async def test_from_the_mail_to_a_customer_who_pays(client: AsyncClient, world: World) -> None:
    await sign_up(client, world)
    await pass_days(world, 11)
    checkout = await world.follow("ada")  # the button in the mail
    assert await checkout.pay()
    assert [one.subject for one in world.conversions()] == ["ada"]
    await pass_days(world, 30)
    assert await reports(client, 10) == [201] * 10
    assert world.sent("ada") == ["trial_started", "trial_ending"]


async def test_looking_at_the_checkout_ends_no_trial(client: AsyncClient, world: World) -> None:
    await sign_up(client, world)
    await pass_days(world, 11)
    await world.follow("ada")  # and back, without paying
    assert await reports(client, 10) == [201] * 10
    checkout = await world.follow("ada")
    assert await checkout.pay()
    assert world.plan("ada") == "paid"


async def test_who_has_paid_meanwhile_is_left_alone(client: AsyncClient, world: World) -> None:
    await sign_up(client, world)
    await pass_days(world, 5)
    await world.stripe.subscribe("ada", "price_123")
    await pass_days(world, 20)
    assert world.sent("ada") == ["trial_started"]
    last = world.log("ada")[-1]
    assert (last.step, last.outcome, last.reason) == ("reverse_trial.2", "stopped", "converted")
    assert [one.subject for one in world.conversions()] == ["ada"]


async def test_who_cancels_a_paid_plan_is_told_of_no_trial(client: AsyncClient, world: World) -> None:
    await sign_up(client, world)
    await world.stripe.subscribe("ada", "price_123")
    await world.stripe.cancel("ada")
    await pass_days(world, 20)
    assert world.plan("ada") == "free"
    assert world.sent("ada") == ["trial_started"]


async def test_the_limit_asks_to_upgrade_as_well(client: AsyncClient, world: World) -> None:
    await sign_up(client, world)
    await pass_days(world, 15)
    assert await reports(client, 4) == [201, 201, 201, 402]
    await world.drain()
    assert world.sent("ada")[-1] == "upgrade_prompt"
    checkout = await world.follow("ada")
    assert await checkout.pay()
    (row,) = await skene.funnel(loop="freemium")
    assert (row.walls, row.clicks, row.conversions) == (1, 1, 1)
