"""Calls that the storage admits at once: the same answers as when it is asked and awaited."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skene import Decision, Reason, action
from skene.adapters.manual import ManualBilling
from skene.adapters.memory import MemoryStorage
from skene.ports.counters import Consume, Counted, Notice
from tests.runtime.shop import BACKENDS, Shop, freemium

WARNS = {"notify_at": (0.5, 1.0), "warning": action.email("usage_warning", provider="mail")}


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Counting(MemoryStorage):
    """Counts how often it is asked the long way."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.charged = 0

    def _count(self, call: Consume, *, charging: bool) -> Counted:
        self.charged += charging
        return super()._count(call, charging=charging)


class Direct(Shop):
    """A shop whose storage is not behind a wire."""

    def __init__(self, *loops: Any, **options: Any) -> None:
        super().__init__(*loops, **options)
        self.counting = Counting(clock=self.clock)
        self.memory = self.counting
        self.swapped = self.skene.override(storage=self.counting)
        self.swapped.__enter__()


def shops(**options: Any) -> tuple[Direct, Shop]:
    return Direct(freemium(**options)), Shop(freemium(**options))


def same(one: Decision, other: Decision) -> bool:
    """Walls and links have ids of their own."""
    return replace(one, wall=None, upgrade_url=None) == replace(other, wall=None, upgrade_url=None)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sampled_from(("ada", "bob", "é", "x" * 300)), st.integers(1, 3)),
        st.tuples(st.just("wait"), st.sampled_from(("1h", "15d", "30d")), st.just(0)),
        st.tuples(st.just("plan"), st.sampled_from(("ada", "bob")), st.sampled_from(("free", "paid"))),
        st.tuples(st.just("grant"), st.sampled_from(("ada", "bob")), st.just(2)),
    ),
    max_size=30,
)


@pytest.mark.parametrize("options", [{}, WARNS, {"limit": 0}, {"charge": "attempt"}, {"enforce": False}])
@settings(max_examples=30)
@given(STEPS)
async def test_the_decisions_are_the_same(options: dict[str, Any], steps: list[tuple[str, Any, Any]]) -> None:
    options = {"limit": 7, **options}
    direct, wired = shops(**options)
    for verb, what, number in steps:
        for shop in (direct, wired):
            if verb == "wait":
                shop.clock.advance(what)
            elif verb == "plan":
                await shop.skene.set_plan(what, number)
            elif verb == "grant":
                await shop.skene.grant(what, "calls", number)
        if verb == "call":
            one = await direct.skene.consume(what, "calls", number)
            assert same(one, await wired.skene.consume(what, "calls", number))
    assert direct.messages() == wired.messages()
    assert sorted(direct.memory.counts()) == sorted(wired.memory.counts())


async def test_only_what_is_refused_goes_the_long_way() -> None:
    direct, _ = shops(limit=3)
    answers = [await direct.call() for _ in range(5)]
    assert [one.allowed for one in answers] == [True, True, True, False, False]
    assert direct.counting.charged == 2


async def test_a_warning_that_falls_due_is_recorded_once() -> None:
    direct, _ = shops(limit=4, **WARNS)
    for _ in range(6):
        await direct.call()
    assert direct.kinds == ["usage_warning", "usage_warning", "upgrade_prompt"]


async def test_a_call_that_is_cancelled_while_it_warns_costs_nothing() -> None:
    direct, _ = shops(limit=4, **WARNS)
    reached, go_on = anyio.Event(), anyio.Event()
    record = direct.memory.record_notice

    async def slow(notice: Notice) -> bool:
        reached.set()
        await go_on.wait()
        return await record(notice)

    direct.memory.record_notice = slow
    await direct.call()
    async with anyio.create_task_group() as group:
        group.start_soon(direct.call)
        await reached.wait()
        third = anyio.CancelScope()
        outcomes: list[Decision] = []

        async def call() -> None:
            with third:
                outcomes.append(await direct.call())

        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()  # it waits for the same warning to be recorded
        third.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not outcomes
        assert await direct.used() == 2
        go_on.set()
    assert await direct.used() == 2
    assert direct.kinds == ["usage_warning"]


async def test_a_reservation_holds_and_gives_back() -> None:
    direct, _ = shops(limit=10)
    async with direct.skene.reserve("ada", "calls", 8) as hold:
        assert (await direct.call(units=2)).remaining == 0
        hold.used(3)
    assert await direct.used() == 5


async def test_other_back_ends_take_their_place_at_once() -> None:
    direct, _ = shops(limit=3)
    other = Counting(clock=direct.clock)
    await direct.call()
    with direct.skene.override(storage=other):
        assert (await direct.call(times=2)).used == 2
    assert (await direct.call()).used == 2
    assert [one.counts() for one in (direct.memory, other)] == [(("ada", "calls", "free", 2),)] * 2
    with direct.skene.override(billing=ManualBilling(("free",), default="paid")):
        assert (await direct.call()).reason is Reason.UNLIMITED
    assert (await direct.call()).plan == "free"


async def test_a_default_plan_without_a_limit_is_told_at_the_start_and_no_sooner() -> None:
    shop = Shop(freemium(), billing=ManualBilling(("paid",), default="gratis"))
    with shop.skene.override(storage=MemoryStorage(clock=shop.clock)):
        assert any("gratis" in fault.given for fault in shop.skene.faults())


@pytest.mark.parametrize("units", [0, -1, True, 1.0, "1", 2**63])
async def test_units_that_cannot_be_counted_are_refused_here_too(units: Any) -> None:
    direct, _ = shops(limit=3)
    with pytest.raises(ValueError, match="units: got"):
        await direct.skene.consume("ada", "calls", units)
    with pytest.raises(ValueError, match="idempotency_key"):
        await direct.skene.consume("ada", "calls", idempotency_key="")


async def test_a_window_ends_to_the_microsecond() -> None:
    direct, wired = shops(limit=1)
    for shop in (direct, wired):
        await shop.call()
        shop.clock.advance(timedelta(days=30, microseconds=-1))
        assert not (await shop.call()).allowed
        shop.clock.advance(timedelta(microseconds=1))
        assert (await shop.call()).window_start == shop.clock.now()
