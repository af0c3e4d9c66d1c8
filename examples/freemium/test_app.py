from httpx import AsyncClient
from skene_config import freemium, skene

from skene import load_loop
from skene.testing import World

SUMMARISE, TRANSLATE, ASK = "/api/features/summarise", "/translate", "/api/features/ask"
BODY = {"text": "One call. Of many."}


async def used(subject: str) -> int:
    """What a subject has used in the running window of their plan."""
    (decision,) = await skene.usage(subject)
    return decision.used


async def test_the_101st_call_is_refused_and_prompts_once(client: AsyncClient, world: World) -> None:
    world.used("ada", 99)
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 200
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 402
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 402
    await world.drain()
    assert world.sent("ada") == ["upgrade_prompt"]
    await world.stripe.subscribe("ada", "price_123")  # a signed webhook, as Stripe would send it
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 200
    assert [c.subject for c in world.conversions()] == ["ada"]


async def test_a_refusal_says_where_to_upgrade(client: AsyncClient, world: World) -> None:
    world.used("ada", 100)
    answer = await client.post(SUMMARISE, json=BODY)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"] == "You've reached your free tier limit. Upgrade to continue."
    assert (problem["code"], problem["used"], problem["limit"]) == ("usage_limit_reached", 100, 100)
    assert (await client.get(problem["upgrade_url"])).is_redirect  # to Stripe's checkout


async def test_from_the_mail_to_a_customer_who_paid(client: AsyncClient, world: World) -> None:
    world.used("ada", 100)
    await client.post(SUMMARISE, json=BODY)
    await world.drain()
    (mail,) = world.mails("ada")
    assert mail.to == "ada@acme.test"
    assert "free tier limit" in mail.text
    checkout = await world.follow("ada")
    assert await checkout.pay()
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 200
    (row,) = await skene.funnel()
    assert (row.walls, row.prompts, row.clicks, row.checkouts, row.conversions) == (1, 1, 1, 1, 1)


async def test_all_endpoints_share_one_count(client: AsyncClient, world: World) -> None:
    world.used("ada", 97)
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 200
    assert (await client.post(TRANSLATE, json=BODY)).status_code == 200
    assert (await client.post(ASK, json=BODY)).json()["left"] == 0
    assert (await client.post(TRANSLATE, json=BODY)).status_code == 402


async def test_each_has_a_count_of_their_own(client: AsyncClient, world: World) -> None:
    world.used("ada", 100)
    bob = {"Authorization": "Bearer token-of-bob"}
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 402
    assert (await client.post(SUMMARISE, json=BODY, headers=bob)).status_code == 200


async def test_what_fails_costs_nothing(client: AsyncClient, world: World) -> None:
    world.used("ada", 10)
    assert (await client.post(SUMMARISE, json={})).status_code == 422
    assert (await client.post(TRANSLATE, json={"text": "größer"})).status_code == 501
    assert (await client.post(SUMMARISE, json=BODY, headers={"Authorization": ""})).status_code == 401
    assert await used("ada") == 10


async def test_the_window_ends_after_thirty_days(client: AsyncClient, world: World) -> None:
    world.used("ada", 100)
    world.clock.advance("29d23h59m59s")
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 402
    world.clock.advance("1s")
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 200


async def test_a_cancelled_subscription_ends_with_what_was_used_for_free(
    client: AsyncClient, world: World
) -> None:
    world.used("ada", 100)
    await world.stripe.subscribe("ada", "price_123")
    assert (await client.post(ASK, json=BODY)).json()["left"] is None
    await world.stripe.cancel("ada")
    assert world.plan("ada") == "free"
    assert (await client.post(ASK, json=BODY)).status_code == 402


async def test_whoever_has_paid_is_let_in_although_no_webhook_arrives(
    client: AsyncClient, world: World
) -> None:
    world.used("ada", 100)
    await client.post(SUMMARISE, json=BODY)
    await world.drain()
    world.stripe.webhooks_dropped = True
    checkout = await world.follow("ada")
    await checkout.pay(comes_back=False)  # the browser is closed before it returns to the app
    world.clock.advance("60s")
    assert (await client.post(SUMMARISE, json=BODY)).status_code == 200


def test_the_typescript_configuration_is_the_same_loop() -> None:
    assert load_loop("seed.json") == freemium
