"""How often a loop acts upon somebody, whom it leaves alone, and what it reaches."""

from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from skene import action, condition, step, trigger
from skene.ports.firings import Outcome
from skene.runtime.worker import LEASE
from tests.runtime.reacting import IDLE, daily, finds, got, loop, mail, on, outcomes, reasons, scheduled
from tests.runtime.shop import BACKENDS, Shop, drain, freemium

ACTED, REPEATED = Outcome.ACTED, Outcome.REPEATED


async def day(shop: Shop, *idle: str) -> list[str]:
    """Let the daily tick come, with some people in its result; who has got a mail because of it."""
    before = len(shop.mail.sent)
    finds(shop, *idle)
    now = shop.clock.now()
    shop.clock.set(now.replace(hour=13, minute=0) + timedelta(days=now.hour >= 13))
    await drain(shop)
    return [one.to.removesuffix("@acme.test") for one in shop.mail.sent[before:]]


# -- schedules ---------------------------------------------------------------------------------------------


async def test_a_schedule_acts_once_until_somebody_has_left_its_result() -> None:
    shop = scheduled(loop(daily()))
    assert await day(shop, "ada", "bob") == ["ada", "bob"]
    assert await day(shop, "ada", "bob", "cleo") == ["cleo"]
    assert await day(shop, "bob", "cleo") == []
    assert await day(shop, "ada", "bob") == ["ada"]
    assert await day(shop) == []
    assert sorted(await day(shop, "ada", "bob", "cleo")) == ["ada", "bob", "cleo"]


async def test_with_a_cooldown_a_schedule_acts_again_after_it() -> None:
    shop = scheduled(loop(daily(cooldown="2d")))
    assert [await day(shop, "ada") for _ in range(5)] == [["ada"], [], ["ada"], [], ["ada"]]


async def test_a_schedule_acts_so_often_at_most() -> None:
    shop = scheduled(loop(daily(cooldown="1d", max_fires=2)))
    assert [await day(shop, "ada") for _ in range(4)] == [["ada"], ["ada"], [], []]


async def test_episodes_and_max_fires_go_together() -> None:
    shop = scheduled(loop(daily(max_fires=2)))
    days = [["ada"], ["ada"], [], ["ada"], [], ["ada"]]
    assert [await day(shop, *people) for people in days] == [["ada"], [], [], ["ada"], [], []]


async def test_the_latest_tick_that_was_missed_runs_within_its_grace() -> None:
    shop = scheduled(loop(daily("0 * * * *", at={"grace": "30m"})))
    finds(shop, "ada")
    shop.clock.advance("5h20m")
    await drain(shop)
    assert got(shop) == ["re_engagement"]
    assert reasons(shop)[-1] == "1 row, 1 acted upon"
    assert sum(one is Outcome.SCANNED for one in outcomes(shop)) == 1
    shop.clock.advance("2h31m")
    await drain(shop)
    assert reasons(shop)[-1] == "the tick came 3060 s too late"
    assert outcomes(shop)[-1] is Outcome.SKIPPED


async def test_a_schedule_that_is_new_begins_with_its_next_tick() -> None:
    shop = Shop(loop(daily("0 12 * * *")))  # it is noon
    finds(shop, "ada")
    await drain(shop)
    assert got(shop) == []
    shop.clock.advance("1d")
    await drain(shop)
    assert got(shop) == ["re_engagement"]


async def test_a_tick_that_is_open_costs_nothing_more() -> None:
    shop = scheduled(loop(daily()))
    finds(shop, "ada")
    shop.clock.advance("1h")
    for _ in range(5):
        await drain(shop)
        shop.clock.advance("1m")
    assert (shop.wire.count("last_tick"), shop.wire.count("open_tick")) == (1, 1)


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_of_many_processes_one_opens_a_tick(anyio_backend: str) -> None:
    shop = scheduled(loop(daily()))
    finds(shop, "ada", "bob")
    twins = [shop.twin() for _ in range(5)]
    shop.clock.advance("1h")
    async with anyio.create_task_group() as tasks:
        for twin in twins:
            tasks.start_soon(drain, twin)
    assert outcomes(shop).count(Outcome.SCANNED) == 1
    assert sorted(got(shop)) == ["re_engagement"] * 2


async def test_rows_without_a_subject_and_twice_the_same_are_told_in_the_log() -> None:
    shop = scheduled(loop(daily(condition=condition.query(IDLE, max_rows=5))))
    rows: list[Any] = [{"user_id": one} for one in (7, "ada", None, True, "ada", "bob")]
    shop.memory.queries.answer(IDLE, rows)
    shop.clock.advance("1h")
    await drain(shop)
    assert sorted(shop.reached) == ["7@acme.test", "ada@acme.test"]
    assert reasons(shop)[-1] == (
        "5 rows, 2 acted upon, 2 without a subject; the rest, beyond max_rows=5, was left out"
    )


@pytest.mark.parametrize(
    ("row", "subject"),
    [({"id": "x", "subject": "ada"}, None), ({"id": "x", "user_id": "ada"}, None), ({"id": "ada"}, None),
     ({"id": "x", "owner": "ada"}, "owner")],
)  # fmt: skip
async def test_the_column_that_names_the_subject(row: dict[str, str], subject: str | None) -> None:
    shop = scheduled(loop(daily(condition=condition.query(IDLE, subject=subject))))
    shop.memory.queries.answer(IDLE, [row])
    shop.clock.advance("1h")
    await drain(shop)
    assert shop.reached == ["ada@acme.test"]


async def test_a_result_without_such_a_column_is_a_dead_tick() -> None:
    shop = scheduled(loop(daily()))
    shop.memory.queries.answer(IDLE, [{"owner": "ada"}])
    shop.clock.advance("1h")
    await drain(shop)
    assert outcomes(shop) == [Outcome.FAILED]
    assert reasons(shop) == ["no column of the result is called subject or user_id or id: owner"]


async def test_further_conditions_are_asked_of_each_row() -> None:
    wanted = condition.all_of(condition.query(IDLE), condition.plan("free"))
    shop = scheduled(loop(daily(condition=wanted)), freemium())
    await shop.skene.set_plan("bob", "paid")
    assert await day(shop, "ada", "bob") == ["ada"]


# -- events ------------------------------------------------------------------------------------------------


async def emit(shop: Shop, subject: str = "ada") -> None:
    await shop.skene.emit("signed.up", subject)
    await drain(shop)


async def test_an_event_acts_each_time_unless_it_is_told_otherwise() -> None:
    shop = Shop(loop(on()))
    for _ in range(3):
        await emit(shop)
    assert outcomes(shop) == [ACTED] * 3


async def test_an_event_is_left_out_during_a_cooldown() -> None:
    shop = Shop(loop(on(cooldown="1h")))
    await emit(shop)
    await emit(shop, "bob")
    shop.clock.advance("59m")
    await emit(shop)
    shop.clock.advance("1m")
    await emit(shop)
    assert outcomes(shop, "ada") == [ACTED, REPEATED, ACTED]
    assert outcomes(shop, "bob") == [ACTED]
    assert len(shop.memory.journeys) == 3


async def test_an_event_acts_so_often_at_most() -> None:
    shop = Shop(loop(on(max_fires=2)))
    for _ in range(4):
        await emit(shop)
    assert outcomes(shop) == [ACTED, ACTED, REPEATED, REPEATED]
    assert len(got(shop)) == 2


async def test_what_is_repeated_begins_no_chain() -> None:
    shop = Shop(loop(on(max_fires=1, then="1h"), step(action=mail("re_engagement"))))
    await emit(shop)
    await emit(shop)
    shop.clock.advance("1h")
    await drain(shop)
    assert got(shop) == ["activation_welcome", "re_engagement"]


# -- those who are left alone ------------------------------------------------------------------------------

MANY = [f"user-{number}" for number in range(60)]


async def test_a_share_is_left_alone_and_looked_at_all_the_same() -> None:
    shop = Shop(loop(on(then="1h"), step(action=mail("re_engagement")), holdout=0.5))
    for who in MANY:
        await shop.skene.emit("signed.up", who)
    await drain(shop)
    shop.clock.advance("1h")
    await drain(shop)
    left = {one.subject for one in shop.memory.journeys if one.held_out}
    assert 10 < len(left) < 50
    assert {to.removesuffix("@acme.test") for to in shop.reached} == set(MANY) - left
    assert len(shop.mail.sent) == 2 * (60 - len(left))
    assert all(outcomes(shop, who) == [Outcome.HELD_OUT] for who in left)
    again = Shop(loop(on(), holdout=0.5))
    for who in MANY:
        await again.skene.emit("signed.up", who)
    await drain(again)
    assert {one.subject for one in again.memory.journeys if one.held_out} == left  # for ever the same


async def test_a_loop_that_only_watches_writes_to_nobody() -> None:
    shop = Shop(loop(on(then="1h"), step(action=mail()), enforce=False))
    await emit(shop)
    shop.clock.advance("1h")
    await drain(shop)
    assert outcomes(shop) == [Outcome.SHADOW]
    assert shop.messages() == []
    (way,) = shop.memory.journeys
    assert way.shadow


# -- goals -------------------------------------------------------------------------------------------------

FIRST = "SELECT 1 FROM projects WHERE owner = $1"


async def test_a_goal_is_an_event_of_whoever_is_on_the_way() -> None:
    shop = Shop(loop(on(), goal=trigger.event("project.created"), attribution="1d"))
    assert await shop.skene.emit("project.created", "bob") == 0  # on no way, and no warning
    await emit(shop)
    await emit(shop, "bob")
    shop.clock.advance("1h")
    await shop.skene.emit("project.created", "ada")
    at = shop.clock.now()
    shop.clock.advance("23h1m")
    await shop.skene.emit("project.created", "bob")
    assert {one.subject: one.goal_at for one in shop.memory.journeys} == {"ada": at, "bob": None}
    (row,) = await shop.skene.funnel()
    assert (row.journeys, row.goals, row.prompts) == (2, 1, 2)
    assert row.median_time_to_goal == timedelta(hours=1)


class GoalByQuery:
    """A loop whose goal is a query that finds somebody from some instant on."""

    def __init__(self, within: str = "1d", **options: Any) -> None:
        self.at: dict[str, datetime] = {}
        self.looks = 0
        goal = condition.query(FIRST)
        self.shop = Shop(loop(on(**options.pop("on", {})), goal=goal, attribution=within, **options))
        self.shop.memory.queries.answer(FIRST, self.look)

    def look(self, values: Any) -> list[dict[str, Any]]:
        self.looks += 1
        at = self.at.get(values["subject"])
        return [{"one": 1}] if at is not None and self.shop.clock.now() >= at else []

    async def live(self) -> None:
        while waiting := self.shop.memory.waiting():
            self.shop.clock.set(max(self.shop.clock.now(), min(one.due_at for one in waiting)))
            await drain(self.shop)


async def test_a_goal_by_query_is_waited_for_as_long_as_it_counts() -> None:
    way = GoalByQuery()
    begun = way.shop.clock.now()
    for who, after in (("ada", 0), ("bob", 300), ("cleo", 1440), ("dan", 1441)):
        way.at[who] = begun + timedelta(minutes=after)
        await way.shop.skene.emit("signed.up", who)
    await way.shop.skene.emit("signed.up", "eve")
    await way.live()
    reached = {one.subject: one.goal_at for one in way.shop.memory.journeys}
    assert reached["ada"] == begun
    assert reached["bob"] is not None
    # Nobody waits for it: it is written down after a quarter of the time that it took, at the latest.
    assert timedelta(0) <= reached["bob"] - way.at["bob"] <= timedelta(minutes=300 / 4)
    assert reached["cleo"] == begun + timedelta(days=1)
    assert (reached["dan"], reached["eve"]) == (None, None)
    (row,) = await way.shop.skene.funnel()
    assert (row.journeys, row.goals) == (5, 3)


async def test_a_goal_by_query_costs_few_looks_however_long_it_counts() -> None:
    way = GoalByQuery("30d")
    await way.shop.skene.emit("signed.up", "ada")
    await way.live()
    assert 30 * 4 <= way.looks <= 30 * 4 + 60  # every six hours in the end


async def test_those_who_are_left_alone_reach_goals_too() -> None:
    way = GoalByQuery(holdout=0.5)
    for who in MANY:
        way.at[who] = way.shop.clock.now() + timedelta(hours=1)
        await way.shop.skene.emit("signed.up", who)
    await way.live()
    left = sum(one.held_out for one in way.shop.memory.journeys)
    (row,) = await way.shop.skene.funnel()
    assert (row.held_out_journeys, row.held_out_goals) == (left, left)
    assert (row.journeys, row.goals, row.prompts) == (60 - left, 60 - left, 60 - left)


async def test_a_watching_loop_is_in_no_funnel() -> None:
    way = GoalByQuery(enforce=False)
    await way.shop.skene.emit("signed.up", "ada")
    way.at["ada"] = way.shop.clock.now()
    await way.live()
    assert await way.shop.skene.funnel() == ()
    assert way.shop.memory.journeys[0].goal_at is not None


@pytest.mark.parametrize("point", [("after", "emit"), ("before", "record"), ("after", "record")])
async def test_a_goal_survives_whoever_found_it(point: tuple[str, str]) -> None:
    way = GoalByQuery()
    shop = way.shop
    await emit(shop)
    way.at["ada"] = shop.clock.advance("1h")
    dying = shop.twin()
    setattr(dying.wire, f"kill_{point[0]}", (point[1], 1))
    with pytest.raises(BaseException):  # noqa: B017, PT011 - however the process dies
        await drain(dying)
    for _ in range(3):
        shop.clock.advance(LEASE)
        await drain(shop)
    (one,) = shop.memory.journeys
    assert one.goal_at is not None
    assert await shop.memory.pending_firings() == 0
    assert reasons(shop)[-1] == "the goal is reached"


async def test_a_goal_that_a_deploy_took_away_is_waited_for_no_longer() -> None:
    way = GoalByQuery()
    await emit(way.shop)
    way.shop.clock.advance("1h")
    await drain(way.shop.twin(loop(on())))
    assert reasons(way.shop)[-1] == "the loop has no such goal any more"
    assert await way.shop.memory.pending_firings() == 0


async def test_a_grant_that_was_promised_is_kept_when_the_goal_comes_first() -> None:
    several = [mail(), action.grant(5), mail("re_engagement", transactional=True)]
    shop = Shop(loop(on(action=several), goal=trigger.event("project.created")), freemium())
    await shop.skene.emit("signed.up", "ada")
    await shop.skene.worker.react_once()
    await shop.skene.emit("project.created", "ada")
    await drain(shop)
    assert [state for _, state, _ in shop.messages()] == ["cancelled", "sent", "cancelled"]
    assert shop.messages()[0][2] == "the goal is reached"
