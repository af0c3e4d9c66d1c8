"""How a condition that does not hold yet is waited for, and what happens when one cannot be asked."""

import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

import skene.runtime.asking as asking
import skene.runtime.firing as firing
from skene import Recovery, condition
from skene.adapters.memory.queries import MemoryQueries
from skene.engine.occasion import Occasion
from skene.errors import QueryRefused, QueryTimeout, StorageUnavailable
from skene.ports.firings import FiringState, Outcome, Phase
from tests.runtime.reacting import daily, decided, finds, fn, got, loop, no, on, outcomes, reasons, scheduled
from tests.runtime.shop import BACKENDS, Shop, drain

ACTED, NOT_MET, FAILED = Outcome.ACTED, Outcome.NOT_MET, Outcome.FAILED

MINE = "SELECT name FROM projects WHERE owner = $1"


# -- waiting -----------------------------------------------------------------------------------------------


class Waited:
    """A condition that comes true at an instant, and when it was asked."""

    def __init__(self, after: timedelta | None, timeout: str = "1h", **options: Any) -> None:
        self.asked: list[timedelta] = []
        text = MINE
        self.shop = Shop(loop(on(condition=condition.query(text, timeout=timeout), **options)))
        self.begun = self.shop.clock.now()
        self.after = after
        self.shop.memory.queries.answer(text, self.look)

    def look(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        since = self.shop.clock.now() - self.begun
        self.asked.append(since)
        return [{"name": "Plans"}] if self.after is not None and since >= self.after else []

    async def wait(self) -> list[Outcome]:
        """Let time pass, from one look to the next, until there is none."""
        await self.shop.skene.emit("signed.up", "ada")
        await drain(self.shop)
        while waiting := self.shop.memory.waiting():
            self.shop.clock.set(waiting[0].due_at)
            await drain(self.shop)
        return outcomes(self.shop)


HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (timedelta(0), ACTED),
        (timedelta(minutes=3), ACTED),
        (HOUR - TICK, ACTED),
        (HOUR, ACTED),
        (HOUR + TICK, NOT_MET),
        (None, NOT_MET),
    ],
)
async def test_a_condition_may_come_true_until_its_deadline(
    after: timedelta | None, outcome: Outcome
) -> None:
    waited = Waited(after)
    assert await waited.wait() == [outcome]
    assert waited.asked[-1] <= HOUR
    if outcome is NOT_MET:
        assert waited.asked[-1] == HOUR
        assert reasons(waited.shop) == ["the condition did not hold in time"]


async def test_it_is_looked_at_less_and_less_often() -> None:
    waited = Waited(None, "3d")
    await waited.wait()
    pauses = [after - before for before, after in zip(waited.asked, waited.asked[1:], strict=False)]
    assert pauses[0] == timedelta(seconds=1)
    assert pauses[:-1] == sorted(pauses[:-1])
    assert max(pauses) == timedelta(minutes=10)
    assert len(waited.asked) < 500
    assert waited.asked[-1] == timedelta(days=3)


async def test_without_a_timeout_it_is_asked_once() -> None:
    shop = Shop(loop(on(condition=condition.query(MINE))))
    finds(shop, query=MINE)
    assert await decided(None, shop=shop) == [NOT_MET]
    assert reasons(shop) == ["the condition did not hold"]


async def test_whoever_looks_too_late_looks_once_all_the_same() -> None:
    for after, outcome in ((HOUR, ACTED), (None, NOT_MET)):
        waited = Waited(after, "5m")
        await waited.shop.skene.emit("signed.up", "ada")
        waited.shop.clock.advance("2d")
        await drain(waited.shop)
        assert outcomes(waited.shop) == [outcome]
        assert waited.asked == [timedelta(days=2)]


async def test_a_wait_goes_on_in_another_process_to_the_same_deadline() -> None:
    waited = Waited(None, "1h")
    await waited.shop.skene.emit("signed.up", "ada")
    await drain(waited.shop)
    waited.shop.clock.advance("30m")
    twin = waited.shop.twin()
    await drain(twin)
    waited.shop.clock.advance("30m")
    await drain(twin)
    assert waited.asked[-1] == HOUR
    assert outcomes(twin) == [NOT_MET]


@pytest.mark.parametrize("kind", [condition.all_of, condition.any_of])
async def test_the_longest_of_several_waits_counts(kind: Any) -> None:
    short = fn(no, timeout="10m")
    shop = Shop(loop(on(condition=kind(short, condition.query(MINE, timeout="1h")))))
    finds(shop, query=MINE)
    await shop.skene.emit("signed.up", "ada")
    await drain(shop)
    shop.clock.advance("59m")
    await drain(shop)
    assert outcomes(shop) == []
    shop.clock.advance("1m")
    await drain(shop)
    assert outcomes(shop) == [NOT_MET]


async def test_a_thousand_that_wait_cost_a_look_each_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = Waited(None, "1d")
    for number in range(1000):
        await waited.shop.skene.emit("signed.up", f"user-{number}")
    await drain(waited.shop)
    assert len(waited.asked) == 1000
    waited.shop.clock.advance("1h")
    await drain(waited.shop)  # from here on each is looked at every ten minutes
    before = waited.shop.wire.count("claim_firings"), len(waited.asked)
    for _ in range(60):
        waited.shop.clock.advance("1s")
        await drain(waited.shop)
    claims, looks = waited.shop.wire.count("claim_firings") - before[0], len(waited.asked) - before[1]
    assert (claims, looks) == (60, 0)


# -- what cannot be asked ----------------------------------------------------------------------------------


async def test_a_function_that_raises_is_asked_again_and_then_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[datetime] = []

    def ask(occasion: Occasion) -> bool:
        asked.append(shop.clock.now())
        raise KeyError("secret of ada")

    shop = Shop(loop(on(condition=fn(ask)), recovery=Recovery(retries=2, backoff="fixed", base="10s")))
    await shop.skene.emit("signed.up", "ada")
    for _ in range(5):
        await drain(shop)
        shop.clock.advance("10s")
    assert [at - asked[0] for at in asked] == [timedelta(seconds=s) for s in (0, 10, 20)]
    (row,) = shop.memory.log()
    assert (row.phase, row.outcome, row.reason) == (Phase.CONDITION, FAILED, "the function raised KeyError")
    (one,) = shop.memory._state.firings.values()
    assert one.state is FiringState.DEAD
    assert "cannot be evaluated: the function raised KeyError" in caplog.text
    assert "ada" not in caplog.text


async def test_a_function_that_recovers_is_asked_until_it_does() -> None:
    answers: list[Any] = [ZeroDivisionError(), ZeroDivisionError(), True]

    def ask(occasion: Occasion) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    shop = Shop(loop(on(condition=fn(ask)), retries=2))
    await shop.skene.emit("signed.up", "ada")
    for _ in range(3):
        await drain(shop)
        shop.clock.advance("5m")
    assert outcomes(shop) == [ACTED]


@pytest.mark.parametrize("answer", [None, 1, "yes", [], anyio.Event])
async def test_an_answer_that_is_no_bool_is_none(answer: Any) -> None:
    shop = Shop(loop(on(condition=fn(lambda occasion: answer))))
    assert await decided(None, shop=shop) == [FAILED]
    assert reasons(shop) == [f"the function returned a value of type {type(answer).__name__}, no bool"]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_a_function_that_hangs_holds_up_nobody_for_long(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LOOK_SECONDS", 0.02)
    let_go = threading.Event()

    async def hangs(occasion: Occasion) -> bool:
        if occasion.subject == "ada":
            await anyio.sleep_forever()
        return True

    def blocks(occasion: Occasion) -> bool:
        return occasion.subject != "ada" or let_go.wait(5)

    for function in (hangs, blocks):
        shop = Shop(loop(on(condition=fn(function))))
        for who in ("ada", "bob"):
            await shop.skene.emit("signed.up", who)
        with anyio.fail_after(3):
            await drain(shop)
        assert (outcomes(shop, "ada"), outcomes(shop, "bob")) == ([FAILED], [ACTED])
        assert "the function took too long" in reasons(shop)
    let_go.set()


async def test_many_slow_conditions_end_before_the_lease_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firing, "LOOK", 0.02)
    passed: list[str] = []

    async def slow(occasion: Occasion) -> bool:
        await anyio.sleep(0.015)
        passed.append(occasion.subject)
        return True

    shop = Shop(loop(on(condition=condition.all_of(*[fn(slow)] * 20))))
    assert await decided(None, shop=shop) == [FAILED]
    assert reasons(shop) == ["the conditions took too long"]
    assert len(passed) < 20


async def test_a_query_that_is_refused_is_dead_at_once_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        if values["subject"] == "ada":
            raise QueryRefused("column owner does not exist")
        return [{"name": "Plans"}]

    shop = Shop(loop(on(condition=condition.query(MINE, timeout="1h")), retries=3))
    shop.memory.queries.answer(MINE, answer)
    for who in ("ada", "bob"):
        await shop.skene.emit("signed.up", who)
    await drain(shop)
    assert (outcomes(shop, "ada"), outcomes(shop, "bob")) == ([FAILED], [ACTED])
    assert "a firing of step activation cannot be evaluated: column owner does not exist" in caplog.text
    assert await shop.memory.pending_firings() == 0


async def test_a_value_that_the_event_does_not_have_is_named(caplog: pytest.LogCaptureFixture) -> None:
    text = "SELECT 1 WHERE :team = 'x'"
    shop = Shop(loop(on(condition=condition.query(text)), retries=3))
    assert await decided(None, data={"teem": "Blue"}, shop=shop) == [FAILED]
    assert reasons(shop) == [":team is no value of the trigger's row; there are: subject, teem"]
    assert "Blue" not in caplog.text


async def test_a_query_that_times_out_is_tried_again_and_then_dead() -> None:
    asked: list[Any] = []

    def answer(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        asked.append(values)
        raise QueryTimeout("the query was stopped after 10 s")

    shop = Shop(loop(on(condition=condition.query(MINE, timeout="1h")), retries=2))
    shop.memory.queries.answer(MINE, answer)
    await shop.skene.emit("signed.up", "ada")
    for _ in range(6):
        await drain(shop)
        shop.clock.advance("5m")
    assert len(asked) == 3
    assert (outcomes(shop), reasons(shop)) == ([FAILED], ["the query was stopped after 10 s"])


async def test_a_hiccup_now_and_then_does_not_end_a_long_wait() -> None:
    waited = Waited(timedelta(days=2), "3d")

    def look(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = waited.look(values)
        if len(waited.asked) > 1 and len(waited.asked) % 3:
            raise QueryTimeout("too busy")
        return found

    waited.shop.memory.queries.answer(MINE, look)
    assert await waited.wait() == [ACTED]


async def test_what_only_fails_is_given_up_at_the_deadline() -> None:
    waited = Waited(None, "1h")

    def look(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = waited.look(values)
        if len(waited.asked) > 1:
            raise QueryTimeout("too busy")
        return found

    waited.shop.memory.queries.answer(MINE, look)
    assert await waited.wait() == [FAILED]
    assert waited.asked[-1] == HOUR


class Away(MemoryQueries):
    """The database of the app is away, skene's own is not."""

    async def fetch(self, *args: Any, **named: Any) -> Any:
        raise StorageUnavailable("the app's database is away")


async def test_a_database_that_only_some_ask_holds_up_only_those() -> None:
    asks = loop(on(condition=condition.query(MINE)), name="asks")
    shop = Shop(asks, loop(on()), queries=Away())
    for who in ("ada", "bob"):
        await shop.skene.emit("signed.up", who)
    for _ in ("ada", "bob"):
        with pytest.raises(StorageUnavailable):
            await drain(shop)
    await drain(shop)
    assert sorted(got(shop)) == ["activation_welcome"] * 2
    shop.clock.advance("5s")
    back = MemoryQueries()
    back.answer(MINE, [{"name": "Plans"}])
    twin = shop.twin(queries=back)
    await drain(twin)
    assert len(got(shop)) == 4


async def test_one_row_of_a_schedule_that_cannot_be_decided_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = {"bob"}
    asked: list[str] = []

    async def ask(occasion: Occasion) -> bool:
        asked.append(occasion.subject)
        if occasion.subject in broken:
            raise KeyError(occasion.subject)
        return True

    wanted = condition.all_of(condition.query("SELECT user_id FROM users WHERE idle"), fn(ask))
    shop = scheduled(loop(daily(condition=wanted), retries=1))
    finds(shop, "ada", "bob", "cleo")
    shop.clock.advance("1h")
    await drain(shop)
    assert sorted(shop.reached) == ["ada@acme.test", "cleo@acme.test"]
    broken.clear()
    shop.clock.advance("5m")
    await drain(shop)
    assert sorted(shop.reached) == ["ada@acme.test", "bob@acme.test", "cleo@acme.test"]
    assert [one.outcome for one in shop.memory.log() if not one.subject] == [Outcome.SCANNED]
    broken.add("bob")
    shop.clock.advance("1d")
    for _ in range(3):
        await drain(shop)
        shop.clock.advance("5m")
    assert reasons(shop)[-1] == "1 of 3 rows undecided: the function raised KeyError"
    broken.clear()
    shop.clock.advance("1d")  # a tick that failed has ended nobody's episode
    await drain(shop)
    assert len(shop.reached) == 3
    assert "bob" not in caplog.text


async def test_one_poisoned_firing_of_100_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "skene")

    class Poisoned(MemoryQueries):
        async def fetch(self, select: Any, values: Any, **named: Any) -> Any:
            if values["subject"] == "user-50":
                raise ZeroDivisionError
            return [{"one": 1}]

    shop = Shop(loop(on(condition=condition.query(MINE)), retries=1), queries=Poisoned())
    for number in range(100):
        await shop.skene.emit("signed.up", f"user-{number}")
    for _ in range(3):
        await drain(shop)
        shop.clock.advance("5m")
    assert len(got(shop)) == 99
    assert outcomes(shop, "user-50") == [FAILED]
    assert "unexpected ZeroDivisionError" in reasons(shop)
