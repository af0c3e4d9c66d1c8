"""Calls that fly together are decided as if each had been made by itself, in the order they came in."""

import asyncio  # noqa: TID251 - tasks start in the order they are made: that is the order of arrival
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.adapters.memory import MemoryStorage
from skene.adapters.postgres import PostgresStorage
from skene.engine.standing import Standing
from skene.engine.window import Anchored, Edges, Rolling, WindowRule, calendar_edges
from skene.errors import IdempotencyConflict, StorageUnavailable
from skene.ports.counters import Charge, Consume, Counted, Receipt
from skene.ports.grants import Grant
from skene.ports.overrides import Override
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import call, charge, used
from skene.testing.conformance.features import entitle
from tests.support.extent import extent
from tests.support.histories import START
from tests.support.sql_stores import PATIENT

pytestmark = pytest.mark.anyio

RULES: tuple[WindowRule, ...] = (
    Anchored(timedelta(hours=1)),
    Edges(calendar_edges("month", "Europe/Helsinki", START)),
    Rolling(timedelta(hours=1)),
    Edges(calendar_edges("day", "UTC", START), billing_cycle=True),
)
LIMITS: tuple[dict[str, int | None], ...] = (
    {"free": 6, "paid": None},
    {"free": 9, "paid": 20},
    {"free": 2**63 - 1},
    {"free": 0, "paid": 7},
)


@dataclass(frozen=True)
class One:
    """A call: whose, on which meters with which limits, how many units, under which key."""

    who: int
    charges: tuple[tuple[int, int, int, str | None], ...]  # meter, limits, cost, feature
    key: str | None

    def on(self, names: Sequence[str], rules: Sequence[WindowRule]) -> Consume:
        charges = tuple(
            Charge(f"s{limits}", f"m{meter}", cost, LIMITS[limits], rules[meter], feature)
            for meter, limits, cost, feature in self.charges
        )
        return Consume(names[self.who], "free", charges, self.key, "same")


Happening = Callable[[Storage, Sequence[str]], Awaitable[object]]
charges = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from((0, 0, 0, 1, 2, 3)),
        st.sampled_from((1, 1, 1, 2, 3, 2**62)),
        st.sampled_from((None, None, None, None, "export")),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda item: item[0],
).map(lambda items: tuple((m, n, cost if n == 2 else min(cost, 3), feature) for m, n, cost, feature in items))
ones = st.builds(One, st.integers(0, 2), charges, st.sampled_from((None, None, None, None, "k1", "k2")))
flights = st.lists(ones, min_size=1, max_size=14)
pauses = st.sampled_from((0, 1, 600, 3601, 86_400)).map(lambda seconds: timedelta(seconds=seconds))


def grant(units: int) -> Happening:
    return lambda storage, names: storage.grant(Grant(f"k{units}", names[0], "m0", units))


def override(limit: int | None) -> Happening:
    return lambda storage, names: storage.set_override(Override(names[1], "m0", limit))


def hold(plan: str, lasts: timedelta | None) -> Happening:
    until = START + lasts if lasts else None
    standing = Standing(plan, until, paying=plan == "paid")
    return lambda storage, names: storage.set_plan(
        names[0], standing, default_plan="free", attribution=timedelta(0)
    )


def feature() -> Happening:
    return lambda storage, names: entitle(storage, "export", customer=f"cus {names[2]}", subject=names[2])


happenings = st.one_of(
    st.none(),
    st.builds(grant, st.integers(1, 5)),
    st.builds(override, st.sampled_from((None, 2, 12))),
    st.builds(hold, st.sampled_from(("paid", "free")), st.sampled_from((None, timedelta(hours=2)))),
    st.builds(feature),
)
stages = st.lists(st.tuples(happenings, pauses, flights, st.booleans()), min_size=1, max_size=4)
numbers = count(1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def storage(postgres: str, clock: ManualClock) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(postgres, clock=clock, timeout=PATIENT)
    await storage.start()
    yield storage
    await storage.aclose()


async def decided(consume: Awaitable[Counted]) -> Counted | str:
    try:
        return await consume
    except IdempotencyConflict:
        return "conflict"


def receipts(answers: Sequence[Counted | str]) -> list[tuple[str, Receipt]]:
    return [
        (answer.subject, tally.receipt)
        for answer in answers
        if isinstance(answer, Counted)
        for tally in answer.tallies
        if tally.receipt
    ]


History = list[tuple[Happening | None, timedelta, list[One], bool]]


@given(rules=st.tuples(st.sampled_from(RULES), st.sampled_from(RULES)), history=stages)
@extent(40, 400)
async def test_a_flight_is_decided_as_one_call_after_the_other(
    storage: PostgresStorage, clock: ManualClock, rules: tuple[WindowRule, WindowRule], history: History
) -> None:
    clock.set(START)
    number = next(numbers)
    names = [f"{number} {who}" for who in range(3)]
    memory = MemoryStorage(clock=clock)
    for happening, pause, flight, giving_back in history:
        clock.advance(pause)
        if happening is not None:
            for each in (storage, memory):
                await happening(each, names)
        calls = [one.on(names, rules) for one in flight]
        together = await asyncio.gather(*[decided(storage.consume(each)) for each in calls])
        alone = [await decided(memory.consume(each)) for each in calls]
        assert together == alone
        if giving_back:
            for subject, receipt in receipts(alone)[::2]:
                await storage.refund(subject, (receipt,))
                await memory.refund(subject, (receipt,))


async def test_many_calls_take_few_statements(postgres: str) -> None:
    """One for those that are alike, however many counters they are on, and one for the rest."""
    storage = PostgresStorage(postgres, timeout=PATIENT)
    await storage.start()
    sent: list[str] = []
    lines = storage._lines
    assert lines is not None
    fetch = lines.fetch

    async def watched(query: str, arguments: Sequence[object]) -> object:
        sent.append(query.partition("skene_")[2].partition("(")[0])
        return await fetch(query, arguments)

    lines.fetch = watched  # type: ignore[method-assign, assignment] # looks on
    subjects = [f"subject {number}" for number in range(100)]
    for expected in (
        ["charge_plain_v1", "consume_many_v3"],  # the first of their windows
        ["charge_plain_v1"],
    ):
        sent.clear()
        answers = await asyncio.gather(*[storage.consume(call(subject=each)) for each in subjects])
        assert all(answer.admitted for answer in answers)
        assert sent == expected
    sent.clear()
    answers = await asyncio.gather(*[storage.consume(call(charge(50))) for _ in range(120)])
    assert [answer.tallies[0].used for answer in answers] == [*range(1, 51)] + [50] * 70
    assert [answer.admitted for answer in answers] == [True] * 50 + [False] * 70
    sent.clear()
    answers = await asyncio.gather(*[storage.consume(call(charge(50))) for _ in range(120)])
    assert not any(answer.admitted for answer in answers)
    assert sent == ["consume_v4"]
    await storage.aclose()


async def test_one_bad_call_fails_alone(postgres: str) -> None:
    storage = PostgresStorage(postgres, timeout=PATIENT)
    await storage.start()
    bad = call(charge(meter="nul\0"))
    calls = [call(subject=f"s{number}") for number in range(5)]
    answers = await asyncio.gather(
        *[storage.consume(each) for each in (*calls[:2], bad, *calls[2:])], return_exceptions=True
    )
    assert [isinstance(answer, Counted) and answer.admitted for answer in answers] == [
        *(True, True, False, True, True, True)
    ]
    assert isinstance(answers[2], asyncpg.PostgresError)
    for number in range(5):
        assert await used(storage, subject=f"s{number}") == 1
    await storage.aclose()


async def test_a_strangers_lock_holds_up_one_flight_and_no_more(postgres: str) -> None:
    """Its subject is kept apart from then on, until it gets through."""
    storage = PostgresStorage(postgres, timeout=timedelta(seconds=1.8))
    await storage.start()
    others = [call(subject=f"s{number}") for number in range(4)]
    for each in (call(), *others):
        await storage.consume(each)
    stranger = await asyncpg.connect(postgres)
    async with stranger.transaction():
        await stranger.execute("SELECT FROM skene_usage WHERE subject = 'ada' FOR UPDATE")
        stuck = [asyncio.ensure_future(storage.consume(call())) for _ in range(3)]
        for _ in range(20):
            await asyncio.gather(*[storage.consume(each) for each in others])
        assert not any(each.done() for each in stuck)
        assert all(
            isinstance(error, StorageUnavailable)
            for error in await asyncio.gather(*stuck, return_exceptions=True)
        )
    await stranger.close()
    assert (await storage.consume(call())).admitted
    assert await used(storage) == 2
    assert await used(storage, subject="s0") == 21
    flights = storage._flights
    assert flights is not None
    assert not flights._suspects
    await storage.aclose()


async def test_cancelled_callers_leave_nothing_charged(postgres: str) -> None:
    """L8, wherever their call was: waiting, in flight, or answered in that very moment."""
    storage = PostgresStorage(postgres, timeout=PATIENT)
    await storage.start()
    kept = 0
    for round_ in range(60):
        calls = [asyncio.ensure_future(storage.consume(call(charge(None)))) for _ in range(12)]
        for _ in range(round_ % 9):
            await asyncio.sleep(0)
        if round_ % 3 == 0:
            await asyncio.wait(calls[:1])
        for number, each in enumerate(calls):
            if number % 2:
                each.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        kept += sum(isinstance(answer, Counted) for answer in answers)
    assert await used(storage, charge(None)) == kept
    await storage.aclose()
