"""Steps that go on from one another: the waits between them, and what ends them."""

from datetime import timedelta
from typing import Any

import pytest

from skene import Loop, action, condition, step, trigger
from skene.engine.occasion import Occasion
from skene.ports.firings import Outcome
from skene.ports.outbox import MessageState
from tests.runtime.reacting import daily, finds, got, loop, mail, on, outcomes, reasons, scheduled
from tests.runtime.shop import Shop, drain, freemium

FIRST, SECOND, THIRD = "activation_welcome", "re_engagement", "third"


def chain(**options: Any) -> Loop:
    """A mail, a day later another one, and two days later a call."""
    second: dict[str, Any] = options.pop("second", {})
    end = options.pop("end", action.function(lambda occasion: None))
    return loop(
        on(then="1d", name="first"),
        step(name="second", then="2d", **{"action": mail("re_engagement"), **second}),
        step(name="third", action=end),
        **options,
    )


async def begin(shop: Shop, **data: Any) -> None:
    await shop.skene.emit("signed.up", "ada", data)
    await drain(shop)


async def later(shop: Shop, by: str) -> list[str]:
    """What everybody has got by then."""
    shop.clock.advance(by)
    await drain(shop)
    return got(shop)


async def test_each_step_comes_when_its_wait_is_over() -> None:
    told: list[Occasion] = []
    shop = Shop(chain(end=action.function(told.append)))
    await begin(shop, team="Blue")
    assert got(shop) == [FIRST]
    assert await later(shop, "23h59m59s") == [FIRST]
    assert await later(shop, "1s") == [FIRST, SECOND]
    await later(shop, "47h59m59s")
    assert told == []
    await later(shop, "1s")
    (one,) = told
    assert (one.step, one.event) == ("activation.third", {"team": "Blue"})
    (way,) = shop.memory.journeys
    assert {d.journey for d, _, _ in shop.memory.posted()} == {way.id}
    assert outcomes(shop) == [Outcome.ACTED] * 3


async def test_a_goal_by_query_is_asked_once_more_before_a_step_acts() -> None:
    made: list[dict[str, Any]] = []
    shop = Shop(chain(goal=condition.query("SELECT 1 FROM projects WHERE owner = $1")))
    shop.memory.queries.answer("SELECT 1 FROM projects WHERE owner = $1", lambda values: made)
    await begin(shop)
    shop.clock.advance("23h")
    await drain(shop)  # looked at for the last time for hours
    made.append({"one": 1})
    assert await later(shop, "1h") == [FIRST]
    assert reasons(shop)[-1] == "the goal is reached"
    assert [one.goal_at for one in shop.memory.journeys] == [shop.clock.now()]


async def test_waits_survive_a_restart_and_a_deploy_in_between() -> None:
    shop = Shop(chain())
    await begin(shop)
    shop = shop.twin(chain())  # every process is another one
    await later(shop, "1d")
    shop = shop.twin(chain())
    await later(shop, "2d")
    assert outcomes(shop) == [Outcome.ACTED] * 3


async def test_a_wait_that_ends_while_nobody_works_goes_on_at_once() -> None:
    shop = Shop(chain())
    await begin(shop)
    assert await later(shop, "9d") == [FIRST, SECOND]
    await later(shop, "2d")
    assert outcomes(shop) == [Outcome.ACTED] * 3


@pytest.mark.parametrize("reason", ["converted", "the goal is reached", "unsubscribed"])
async def test_a_journey_that_is_over_goes_on_no_further(reason: str) -> None:
    shop = Shop(chain(goal=trigger.event("project.created")), freemium())
    await begin(shop)
    match reason:
        case "converted":
            await shop.skene.set_plan("ada", "paid")
        case "the goal is reached":
            await shop.skene.emit("project.created", "ada")
        case _:
            await shop.skene.unsubscribe("ada")
    assert await later(shop, "1d") == [FIRST]
    assert await later(shop, "9d") == [FIRST]
    assert (outcomes(shop), reasons(shop)[-1]) == ([Outcome.ACTED, Outcome.STOPPED], reason)
    assert await shop.memory.pending_firings() == 0


async def test_a_trial_that_begins_ends_no_journey() -> None:
    shop = Shop(chain(), freemium())
    await begin(shop)
    await shop.skene.set_plan("ada", "paid", paying=False)
    assert await later(shop, "1d") == [FIRST, SECOND]


async def test_who_has_paid_before_is_on_a_way_all_the_same() -> None:
    shop = Shop(chain(), freemium())
    await shop.skene.set_plan("ada", "paid")
    shop.clock.advance("1s")
    await begin(shop)
    assert await later(shop, "1d") == [FIRST, SECOND]


async def test_whoever_subscribes_again_goes_on() -> None:
    shop = Shop(chain())
    await begin(shop)
    await shop.skene.unsubscribe("ada")
    assert await shop.skene.resubscribe("ada")
    assert await later(shop, "1d") == [FIRST, SECOND]


async def test_a_condition_that_no_longer_holds_ends_the_chain() -> None:
    idle = True
    shop = Shop(chain(second={"condition": condition.function(lambda occasion: idle)}))
    await begin(shop)
    idle = False
    assert await later(shop, "1d") == [FIRST]
    await later(shop, "9d")
    assert outcomes(shop) == [Outcome.ACTED, Outcome.NOT_MET]


async def test_a_step_may_wait_for_its_condition_from_its_own_time_on() -> None:
    idle = False
    waits = condition.function(lambda occasion: idle, timeout="2h")
    shop = Shop(chain(second={"condition": waits}))
    await begin(shop)
    assert await later(shop, "1d") == [FIRST]
    idle = True
    assert await later(shop, "1h") == [FIRST, SECOND]
    idle = False
    late = Shop(chain(second={"condition": waits}))
    await begin(late)
    await later(late, "1d")
    await later(late, "1h59m")
    assert outcomes(late) == [Outcome.ACTED]
    await later(late, "1m")
    assert outcomes(late) == [Outcome.ACTED, Outcome.NOT_MET]


async def test_a_plan_is_the_one_that_is_held_by_then() -> None:
    shop = Shop(chain(second={"condition": condition.plan("paid")}), freemium())
    await begin(shop)
    await shop.skene.set_plan("ada", "paid", paying=False)
    assert await later(shop, "1d") == [FIRST, SECOND]


@pytest.mark.parametrize("deployed", ["gone", "renamed", "the whole loop"])
async def test_a_step_that_a_deploy_took_away_is_left_out_and_said_so(deployed: str) -> None:
    shop = Shop(chain())
    await begin(shop)
    after = {
        "gone": loop(on(name="first")),
        "renamed": loop(on(then="1d", name="first"), step(name="other", action=mail("re_engagement"))),
        "the whole loop": loop(on("other"), name="something"),
    }
    twin = shop.twin(after[deployed])
    assert await later(twin, "1d") == [FIRST]
    assert reasons(twin)[-1] == "no loop has this step any more"
    assert await shop.memory.pending_firings() == 0


async def test_another_wait_counts_for_those_who_begin_to_wait() -> None:
    shop = Shop(loop(on(then="1d"), step(action=mail("re_engagement"))))
    await begin(shop)
    twin = shop.twin(loop(on(then="5d"), step(action=mail("re_engagement"))))
    assert await later(twin, "1d") == [FIRST, SECOND]


async def test_a_mail_in_the_outbox_of_a_journey_that_is_over_is_cancelled() -> None:
    shop = Shop(chain(goal=trigger.event("project.created")))
    await begin(shop)
    shop.clock.advance("1d")
    await shop.skene.worker.react_once()
    assert shop.states()[-1] is MessageState.PENDING
    await shop.skene.emit("project.created", "ada")
    await drain(shop)
    assert shop.messages()[-1] == ("email", MessageState.CANCELLED, "the goal is reached")
    assert got(shop) == [FIRST]


@pytest.mark.parametrize("holdout", [0.0, 0.999999])
async def test_a_goal_that_comes_before_the_first_step_counts_and_ends_the_chain(holdout: float) -> None:
    shop = Shop(chain(goal=trigger.event("project.created"), holdout=holdout))
    await shop.skene.emit("signed.up", "ada")
    await shop.skene.emit("project.created", "ada")
    await drain(shop)
    await later(shop, "1d")
    assert await later(shop, "9d") == ([] if holdout else [FIRST])
    (row,) = await shop.skene.funnel()
    assert (row.goals, row.held_out_goals) == ((0, 1) if holdout else (1, 0))
    assert row.median_time_to_goal == timedelta(0)
    if not holdout:
        assert (outcomes(shop)[-1], reasons(shop)[-1]) == (Outcome.STOPPED, "the goal is reached")
    assert await shop.memory.pending_firings() == 0


async def test_a_goal_that_comes_while_a_condition_is_waited_for_counts() -> None:
    ready = False
    waits = condition.function(lambda occasion: ready, timeout="1h")
    shop = Shop(loop(on(condition=waits), goal=trigger.event("project.created")))
    await begin(shop)
    shop.clock.advance("10m")
    await shop.skene.emit("project.created", "ada")
    await shop.skene.emit("project.created", "bob")
    ready = True
    assert await later(shop, "10m") == [FIRST]
    (row,) = await shop.skene.funnel()
    assert (row.journeys, row.goals) == (1, 1)


async def test_another_journey_of_the_same_subject_is_not_ended_by_an_older_goal() -> None:
    shop = Shop(chain(goal=trigger.event("project.created")))
    await begin(shop)
    await shop.skene.emit("project.created", "ada")
    shop.clock.advance("1h")
    await begin(shop)
    assert await later(shop, "1d") == [FIRST, FIRST, SECOND]


async def test_a_chain_may_begin_at_a_schedule_and_knows_the_row() -> None:
    told: list[Occasion] = []
    one = loop(daily(then="1h"), step(action=action.function(told.append)), name="retention")
    shop = scheduled(one)
    finds(shop, "ada", "bob")
    await later(shop, "1h")
    await later(shop, "1h")
    assert [(one.subject, one.event) for one in told] == [
        ("ada", {"user_id": "ada"}), ("bob", {"user_id": "bob"}),
    ]  # fmt: skip
    assert got(shop) == [SECOND, SECOND]


async def test_the_same_step_twice_in_one_chain_is_two_messages() -> None:
    shop = Shop(loop(on(then="1h"), step(action=mail(), then="1h"), step(action=mail())))
    await begin(shop)
    await later(shop, "1h")
    assert await later(shop, "1h") == [FIRST] * 3
