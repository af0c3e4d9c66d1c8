"""Answers set by hand, on the port `Queries`."""

from collections.abc import Mapping
from datetime import timedelta

import anyio
import pytest
from pydantic import JsonValue

from skene.adapters.memory import MemoryStorage
from skene.definitions.sql import read_select
from skene.errors import QueryRefused, QueryTimeout
from skene.ports.queries import Row

LONG = timedelta(seconds=30)
TEXT = "SELECT id FROM users WHERE plan = :plan"


async def test_rows_are_given_back_up_to_the_limit() -> None:
    queries = MemoryStorage().queries
    queries.answer(TEXT, [{"id": "ada"}, {"id": "bob"}])
    select = read_select("SELECT id\n  FROM users WHERE plan = :plan")  # spaces do not matter
    assert await queries.check(select) == ("id",)
    found = await queries.fetch(select, {"plan": "free"}, timeout=LONG, limit=1)
    assert found == [{"id": "ada"}]
    found[0]["id"] = "eve"
    assert await queries.fetch(select, {"plan": "free"}, timeout=LONG, limit=1) == [{"id": "ada"}]
    await queries.aclose()


async def test_a_function_sees_what_the_query_binds() -> None:
    queries = MemoryStorage().queries
    seen: list[Mapping[str, JsonValue]] = []

    def plain(values: Mapping[str, JsonValue]) -> list[Row]:
        seen.append(values)
        return [{"id": values["plan"]}]

    async def slow(values: Mapping[str, JsonValue]) -> list[Row]:
        return plain(values)

    for function in (plain, slow):
        queries.answer(TEXT, function, columns=("id",))
        assert await queries.check(read_select(TEXT)) == ("id",)
        values: Row = {"plan": "paid", "other": 1}
        assert await queries.fetch(read_select(TEXT), values, timeout=LONG, limit=5) == [{"id": "paid"}]
    assert seen == [{"plan": "paid"}] * 2


async def test_a_stream_comes_in_batches() -> None:
    queries = MemoryStorage().queries
    queries.answer("SELECT id FROM users", [{"id": number} for number in range(5)])
    async with queries.stream(read_select("SELECT id FROM users"), {}, timeout=LONG, batch=2) as batches:
        assert [len(rows) async for rows in batches] == [2, 2, 1]


async def test_what_has_no_answer_says_how_to_give_one() -> None:
    queries = MemoryStorage().queries
    queries.answer(TEXT, [])
    other = read_select("SELECT 1")
    assert await queries.check(other) == ()  # a test may give the answer when the app has started
    with pytest.raises(QueryRefused, match=r"storage\.queries\.answer"):
        await queries.fetch(other, {}, timeout=LONG, limit=1)
    with pytest.raises(QueryRefused, match=r":plan.*other"):
        await queries.fetch(read_select(TEXT), {"other": 1}, timeout=LONG, limit=1)
    assert await queries.check(read_select(TEXT)) == ()


async def test_an_answer_that_takes_too_long_is_stopped() -> None:
    queries = MemoryStorage().queries

    async def never(values: Mapping[str, JsonValue]) -> list[Row]:
        await anyio.sleep_forever()
        return []

    queries.answer("SELECT 1", never)
    with pytest.raises(QueryTimeout):
        await queries.fetch(read_select("SELECT 1"), {}, timeout=timedelta(milliseconds=10), limit=1)
