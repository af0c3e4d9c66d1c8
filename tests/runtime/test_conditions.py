"""What a firing's condition may be, how it is waited for, and what happens when it cannot be asked."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import anyio
import pytest

from skene import UNLIMITED, Step, action, condition, define_loop, step, trigger
from skene.engine.occasion import Occasion
from skene.ports.firings import Outcome
from tests.runtime.reacting import decided, fn, loop, no, on, outcomes, soon, yes
from tests.runtime.shop import BACKENDS, Shop, drain, freemium

ACTED, NOT_MET, FAILED = Outcome.ACTED, Outcome.NOT_MET, Outcome.FAILED
MINE = "SELECT name FROM projects WHERE owner = $1"


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
    return [d.data["event"] for d, _, _ in shop.memory.posted(subject) if d.kind == "webhook"]  # type: ignore[misc]  # it is JSON


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
    assert unheard.wire.count("note_lapses") == 1  # nobody listens, but paying may have ended


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
