from contextlib import AsyncExitStack

import pytest
from app import LONGEST, stream
from httpx import AsyncClient
from skene_config import skene

from skene.testing import World


async def used() -> int:
    return (await skene.check("ada", "tokens")).used


async def say(client: AsyncClient, text: str) -> tuple[int, str]:
    answer = await client.post("/chat", json={"text": text})
    return answer.status_code, answer.text.strip()


async def test_an_answer_costs_the_tokens_it_took(client: AsyncClient, world: World) -> None:
    assert await say(client, "one two three") == (200, "one two three")
    assert await used() == 6  # three asked, three answered; the rest of what was held is back


async def test_who_has_few_tokens_left_gets_a_short_answer(client: AsyncClient, world: World) -> None:
    world.used("ada", 995)
    assert await say(client, "one two three") == (200, "one two")
    assert await used() == 1_000


async def test_who_has_none_is_refused_before_anything_is_streamed(client: AsyncClient, world: World) -> None:
    world.used("ada", 1_000)
    answer = await client.post("/chat", json={"text": "hello"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["remaining"]) == (402, 0)
    await world.drain()
    assert world.sent("ada") == ["upgrade_prompt"]
    checkout = await world.follow("ada")
    assert await checkout.pay()
    assert await say(client, "hello") == (200, "hello")


async def test_a_question_that_is_too_long_is_refused(client: AsyncClient, world: World) -> None:
    assert (await say(client, "word " * 1_000))[0] == 402
    assert await used() == 0


async def test_a_long_answer_ends(client: AsyncClient, world: World) -> None:
    _, text = await say(client, "word " * 300)
    assert len(text.split()) == LONGEST


async def test_what_was_streamed_before_the_model_broke_off_is_paid(
    client: AsyncClient, world: World
) -> None:
    with pytest.raises(RuntimeError, match="the model is gone"):
        await say(client, "one two crash three")
    assert await used() == 4 + 2


async def test_what_was_streamed_to_a_browser_that_left_is_paid(world: World) -> None:
    stack = AsyncExitStack()
    hold = await stack.enter_async_context(skene.reserve("ada", "tokens", 100))
    answer = stream("one two three", 3, hold, stack)
    assert await anext(answer) == "one "
    await answer.aclose()  # as the server does when the connection is gone
    assert await used() == 3 + 1
