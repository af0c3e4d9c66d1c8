"""What a firing's condition may be, how it is waited for, and what happens when it cannot be asked."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

import skene.runtime.asking as asking
import skene.runtime.firing as firing
from skene import UNLIMITED, Recovery, Step, action, condition, define_loop, step, trigger
from skene.adapters.memory.queries import MemoryQueries
from skene.engine.occasion import Occasion
from skene.errors import QueryRefused, QueryTimeout, StorageUnavailable
from skene.ports.firings import FiringState, Outcome, Phase
from tests.runtime.reacting import daily, finds, got, loop, on, outcomes, reasons, scheduled
from tests.runtime.shop import BACKENDS, Shop, drain, freemium

ACTED, NOT_MET, FAILED = Outcome.ACTED, Outcome.NOT_MET, Outcome.FAILED
MINE = "SELECT name FROM projects WHERE owner = $1"


def yes(occasion: Occasion) -> bool:
    return True


def no(occasion: Occasion) -> bool:
    return False


async def soon(occasion: Occasion) -> bool:
    return True


def fn(function: Callable[[Any], Any], **options: Any) -> Any:
    return condition.function(function, **options)


async def decided(
    one: Any, *, data: Mapping[str, Any] | None = None, shop: Shop | None = None
) -> list[Outcome]:
    """What comes of a condition that is asked once."""
    shop = shop or Shop(loop(on(condition=one)), freemium())
    await shop.skene.emit("signed.up", "ada", data)
    await drain(shop)
    return outcomes(shop)


# -- each kind ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", BACKENDS)
@pytest.mark.parametrize(
    ("one", "holds"),
    [
        (None, True),
        (fn(yes), True),
        (fn(soon), True),
        (fn(no), False),
        (condition.not_(fn(no)), True),
        (condition.not_(fn(yes)), False),
        (condition.all_of(fn(yes), fn(soon)), True),
        (condition.all_of(fn(yes), fn(no)), False),
        (condition.any_of(fn(no), fn(yes)), True),
        (condition.any_of(fn(no), fn(no)), False),
        (condition.plan("free"), True),
        (condition.plan("paid"), False),
        (condition.plan("paid", "free"), True),
        (condition.not_(condition.all_of(condition.plan("free"), condition.not_(fn(yes)))), True),
        (condition.any_of(condition.all_of(fn(yes), fn(no)), condition.not_(condition.plan("paid"))), True),
    ],
)
async def test_each_kind_and_kinds_within_kinds(one: Any, holds: bool, anyio_backend: str) -> None:
    assert await decided(one) == [ACTED if holds else NOT_MET]


async def test_a_function_is_told_the_occasion() -> None:
    told: list[Occasion] = []

    def ask(occasion: Occasion) -> bool:
        told.append(occasion)
        return False

    shop = Shop(loop(on(condition=fn(ask))), freemium())
    await shop.skene.set_plan("ada", "paid")
    await shop.skene.emit("signed.up", "ada", {"team": "Blue"})
    await drain(shop)
    (one,) = told
    assert (one.subject, one.loop, one.step, one.plan) == ("ada", "activation", "activation", "paid")
    assert (one.event, one.occurred_at) == ({"team": "Blue"}, shop.clock.now())


async def test_a_query_is_asked_about_the_subject_and_the_event() -> None:
    asked: list[Mapping[str, Any]] = []
    text = "SELECT name FROM projects WHERE owner = $1 AND team = :team"
    shop = Shop(loop(on(condition=condition.query(text))))

    def answer(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        asked.append(values)
        return [{"name": "Plans"}] if values["subject"] == "ada" else []

    shop.memory.queries.answer(text, answer)
    for who in ("ada", "bob"):
        await shop.skene.emit("signed.up", who, {"team": "Blue", "subject": "eve"})
    await drain(shop)
    assert asked == [{"subject": "ada", "team": "Blue"}, {"subject": "bob", "team": "Blue"}]
    assert (outcomes(shop, "ada"), outcomes(shop, "bob")) == ([ACTED], [NOT_MET])


async def test_the_first_row_that_is_found_goes_with_the_action() -> None:
    rows: list[Any] = []
    both = condition.all_of(condition.query(MINE), condition.query("SELECT 1 AS one"))
    shop = Shop(loop(on(condition=condition.any_of(fn(no), both), action=action.function(rows.append))))
    shop.memory.queries.answer(MINE, [{"name": "Plans"}, {"name": "Others"}])
    shop.memory.queries.answer("SELECT 1 AS one", [{"one": 1}])
    await decided(None, shop=shop)
    assert [one.row for one in rows] == [{"name": "Plans"}]


@pytest.mark.parametrize(
    ("level", "used", "holds"),
    [
        ({"at": 2}, 1, False),
        ({"at": 2}, 2, True),
        ({"at": 0.5}, 1, False),
        ({"at": 0.5}, 2, True),
        ({"at": 1.0}, 3, False),
        ({"at": 1.0}, 4, True),
        ({"under": 1}, 0, True),
        ({"under": 1}, 1, False),
        ({"under": 1.0}, 3, True),
        ({"under": 1.0}, 4, False),
        ({"at": 1, "under": 0.75}, 2, True),
        ({"at": 1, "under": 0.75}, 3, False),
    ],
)
async def test_levels_in_units_and_shares(level: dict[str, Any], used: int, holds: bool) -> None:
    shop = Shop(loop(on(condition=condition.usage(**level))), freemium(4))
    if used:
        await shop.call(units=used)
    assert await decided(None, shop=shop) == [ACTED if holds else NOT_MET]


@pytest.mark.parametrize(
    ("limit", "level", "holds"),
    [
        (0, {"at": 1.0}, True),
        (0, {"under": 1.0}, False),
        (0, {"at": 1}, False),
        (UNLIMITED, {"at": 0.1}, False),
        (UNLIMITED, {"under": 1.0}, True),
        (UNLIMITED, {"at": 5}, True),
    ],
)
async def test_levels_where_there_is_no_limit_or_nothing(
    limit: Any, level: dict[str, Any], holds: bool
) -> None:
    with pytest.warns() if limit is UNLIMITED else anyio.CancelScope():
        counts = freemium(limit)
    shop = Shop(loop(on(condition=condition.usage(**level))), counts)
    if limit is UNLIMITED:
        await shop.call(units=5)
    assert await decided(None, shop=shop) == [ACTED if holds else NOT_MET]


async def test_granted_units_raise_what_a_share_is_of() -> None:
    shop = Shop(loop(on(condition=condition.usage(at=0.5))), freemium(4))
    await shop.skene.grant("ada", "calls", 6)
    await shop.call(units=4)
    assert await decided(None, shop=shop) == [NOT_MET]
    await shop.call(units=1)
    assert (await decided(None, shop=shop))[-1] is ACTED


async def test_a_level_names_its_meter() -> None:
    other = define_loop(
        type="freemium",
        name="exports",
        steps=[
            step(
                condition=condition.usage(limit={"free": 2, "paid": 9}, period="1d", meter="exports"),
                action=action.block("Limit reached."),
            )
        ],
    )
    shop = Shop(loop(on(condition=condition.usage(at=1, meter="exports"))), freemium(), other)
    await shop.call()
    assert await decided(None, shop=shop) == [NOT_MET]
    await shop.skene.consume("ada", "exports")
    assert (await decided(None, shop=shop))[-1] is ACTED


# -- plans that change -------------------------------------------------------------------------------------


def changes(**options: Any) -> Step:
    return step(
        trigger=trigger.event("plan.changed"),
        condition=condition.plan(**options) if options else None,
        action=action.webhook("hooks", "plan.changed"),
    )


async def heard(shop: Shop, subject: str = "ada") -> list[dict[str, Any]]:
    await drain(shop)
    return [d.data["event"] for d, _, _ in shop.memory.posted(subject) if d.kind == "webhook"]  # type: ignore[misc] # JSON


async def test_a_plan_that_is_set_ends_and_is_set_again_is_told_each_time() -> None:
    shop = Shop(loop(changes()), freemium())
    await shop.skene.set_plan("ada", "paid", until=shop.clock.now() + timedelta(days=1))
    await shop.skene.set_plan("ada", "paid", until=shop.clock.now() + timedelta(days=1))  # no change
    assert await heard(shop) == [{"from": "free", "to": "paid"}]
    shop.clock.advance("1d")
    assert await heard(shop) == [{"from": "free", "to": "paid"}, {"from": "paid", "to": "free"}]
    await shop.skene.set_plan("ada", "paid")
    assert (await heard(shop))[2:] == [{"from": "free", "to": "paid"}]


async def test_who_left_which_plan_for_which() -> None:
    shop = Shop(loop(changes(changed_from="paid", changed_to="free")), freemium())
    await shop.skene.set_plan("ada", "paid")
    assert await heard(shop) == []
    await shop.skene.set_plan("ada", "free")
    assert await heard(shop) == [{"from": "paid", "to": "free"}]
    assert outcomes(shop) == [NOT_MET, ACTED]


async def test_lapses_are_looked_for_once_a_minute() -> None:
    shop = Shop(loop(changes()), freemium())
    for _ in range(5):
        await drain(shop)
    assert shop.wire.count("note_lapses") == 1
    shop.clock.advance("59s")
    await drain(shop)
    assert shop.wire.count("note_lapses") == 1
    shop.clock.advance("1s")
    await drain(shop)
    assert shop.wire.count("note_lapses") == 2
    unheard = Shop(loop(on()), freemium())
    await drain(unheard)
    assert unheard.wire.count("note_lapses") == 0


async def test_a_plan_needs_no_limit_to_be_set_by_hand() -> None:
    shop = Shop(loop(changes(changed_to="paid")))
    await shop.skene.set_plan("ada", "paid")
    assert await heard(shop) == [{"from": "free", "to": "paid"}]
    with pytest.raises(ValueError, match="got 'gold'; there are: free, paid"):
        await shop.skene.set_plan("ada", "gold")


async def test_a_trial_is_no_conversion() -> None:
    shop = Shop(loop(changes()), freemium())
    assert not (await shop.skene.set_plan("ada", "paid", paying=False)).converted
    assert (await shop.skene.set_plan("ada", "paid")).converted
    assert not (await shop.skene.set_plan("bob", "free")).converted
    assert (await shop.skene.set_plan("bob", "free", paying=True)).converted
    assert await heard(shop) == [{"from": "free", "to": "paid"}]


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
