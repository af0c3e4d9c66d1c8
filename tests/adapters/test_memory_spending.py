"""MemoryStorage charges plain calls at once, and then everything is as if `consume` had charged them."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.spending import spender
from skene.engine.spent import MASK, UNITS, WIDTH, Spent, instant, nanos
from skene.engine.window import EPOCH, Anchored
from skene.ports.counters import Charge, Consume, Counted, PlainLimit, Receipt, Spend, Tally
from skene.ports.grants import Grant
from skene.ports.overrides import Override
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import call, charge
from tests.support.histories import (
    LIMITS,
    START,
    Ask,
    Charging,
    Give,
    Hold,
    Player,
    Step,
    WaitForTheEnd,
    in_step,
    rules,
    steps,
)

MONTH = timedelta(days=30)
FREE = PlainLimit("calls", {"free": 3, "paid": None}, nanos(MONTH))


class AtOnce(Player):
    """Plays plain calls through `spender`, and `consume` whatever is left to it."""

    spent = 0

    def spender(self, default_plan: str, asked: PlainLimit) -> Spend | None:
        assert isinstance(self.storage, MemoryStorage)
        return self.storage.spender(default_plan, asked)

    async def ask(self, step: Ask) -> Counted | str:
        meter, cost, limits, feature = step.charges[0]
        rule, billed = self.rules[meter], self.billed[meter]
        plain = len(step.charges) == 1 and step.key is None and feature is None and step.spend
        if not plain or not isinstance(rule, Anchored) or billed:
            return await super().ask(step)
        spend = self.spender("free", PlainLimit(f"m{meter}", LIMITS[limits], nanos(rule.length)))
        spent = spend(self.subject, cost) if spend else None
        if spent is None:
            return await super().ask(step)
        self.spent += 1
        self.asked = step
        item = Charge(f"loop.{meter}", f"m{meter}", cost, LIMITS[limits], rule)
        self.last = counted(item, self.subject, spent)
        self.receipts += [tally.receipt for tally in self.last.tallies if tally.receipt]
        return self.last


def counted(item: Charge, subject: str, spent: Spent) -> Counted:
    plan, limit, counter, now = spent
    start, end = instant(counter >> WIDTH & MASK), instant(counter & MASK)
    receipt = Receipt(item.meter, plan, start, item.cost)
    tally = Tally(item, limit, counter >> UNITS, True, start, end, receipt=receipt)
    return Counted(True, False, instant(now), plan, None, None, None, (tally,), subject)


async def compare(kind: type[AtOnce], history: list[Step], rules: tuple[Any, Any], customer: bool) -> AtOnce:
    clock = ManualClock(START)
    model = Player(MemoryStorage(clock=clock), clock, "ada", rules)
    player = kind(MemoryStorage(clock=clock), clock, "ada", rules)
    async for _ in in_step(clock, history, model, player, customer=customer):
        assert [_known(one) for one in player.answers[-1:]] == [_known(one) for one in model.answers[-1:]]
    assert player.receipts == model.receipts
    assert kept(player) == kept(model)
    return player


def _known(answer: object) -> object:
    """An answer without what a plain call does not tell, because nothing hangs on it."""
    if isinstance(answer, Counted) and answer.admitted:
        return replace(answer, customer=None, checked_at=None)
    return answer


def kept(player: Player) -> dict[str, str]:
    """All that a storage keeps of counters, grants and bills."""
    assert isinstance(player.storage, MemoryStorage)
    state = player.storage._state
    counters = {where: dict(table) for where, table in state.counters.items() if table}
    return {
        "counters": repr(sorted(counters.items())),
        "grants": repr(state.grants),
        "bills": repr(state.bills),
    }


HISTORIES = st.lists(steps, min_size=10, max_size=60)
ANCHORED = st.tuples(rules, rules).map(lambda two: (Anchored(MONTH), two[1]))


class TestHistories:
    @settings(max_examples=400)
    @given(HISTORIES, ANCHORED, st.booleans())
    async def test_to_any_history_the_answers_are_the_same(
        self, history: list[Step], rules: tuple[Any, Any], customer: bool
    ) -> None:
        await compare(AtOnce, history, rules, customer)

    async def test_most_calls_of_a_plain_history_are_plain(self) -> None:
        history: list[Step] = [ONE] * 5
        player = await compare(AtOnce, history, (Anchored(MONTH),) * 2, customer=False)
        assert player.spent == 3, "the other two are refused"

    @pytest.mark.parametrize("blind", ["grants", "holders", "bills", "time"])
    async def test_one_that_does_not_look_closely_is_seen(self, blind: str) -> None:
        class Careless(AtOnce):
            def spender(self, default_plan: str, asked: PlainLimit) -> Spend | None:
                assert isinstance(self.storage, MemoryStorage)
                state = copy.copy(self.storage._state)
                if blind == "time":
                    state.ticks = SimpleNamespace(time_ns=lambda: nanos(START - EPOCH))
                else:
                    setattr(state, blind, {})
                return spender(state, {}, default_plan, asked)

        both = (Anchored(MONTH),) * 2
        await compare(AtOnce, PITFALLS[blind], both, customer=False)
        with pytest.raises(AssertionError):
            await compare(Careless, PITFALLS[blind], both, customer=False)


ONE = Ask(((0, 1, 0, None),), None, "", spend=True)
WIDE = Ask(((0, 1, 4, None),), None, "", spend=True)
PITFALLS: dict[str, list[Step]] = {
    "grants": [ONE, Give("a", 0, 2, None), ONE, ONE, ONE, ONE],
    "holders": [ONE, Hold("paid", None), ONE],
    "bills": [Charging(0, ("free",)), WIDE, Charging(0, ()), WaitForTheEnd(timedelta(0)), WIDE],
    "time": [ONE, WaitForTheEnd(timedelta(0)), ONE],
}


def ready(limit: PlainLimit = FREE) -> tuple[ManualClock, MemoryStorage, Callable[[str, int], Spent | None]]:
    clock = ManualClock(START)
    storage = MemoryStorage(clock=clock)
    spend = storage.spender("free", limit)
    assert spend is not None
    return clock, storage, spend


async def test_a_refusal_changes_nothing_and_is_left_to_consume() -> None:
    _, storage, spend = ready()
    assert spend("ada", 2) is not None
    before = repr(vars(storage._state))
    assert spend("ada", 2) is None
    assert spend("bob", 4) is None
    assert repr(vars(storage._state)) == before
    assert not (await storage.consume(call(charge(3, cost=2)))).admitted
    assert spend("ada", 1) is not None
    assert storage.counts() == (("ada", "calls", "free", 3),)


@pytest.mark.parametrize("subject", ["", "a\0", "\ud800", "x" * 201, "ü" * 101, 7, None, ["ada"]])
async def test_ids_that_are_not_kept_as_they_are_need_a_closer_look(subject: Any) -> None:
    _, storage, spend = ready()
    assert spend(subject, 1) is None
    assert storage.counts() == ()
    assert spend("ü" * 100, 1) is not None


async def test_whoever_is_merged_or_has_a_limit_of_their_own_needs_a_closer_look() -> None:
    _, storage, spend = ready()
    assert spend("anonymous", 1) is not None
    await storage.merge("anonymous", "ada")
    assert spend("anonymous", 1) is None
    assert spend("ada", 1) is not None
    await storage.set_override(Override("ada", "calls", 100))
    assert spend("ada", 1) is None
    await storage.grant(Grant("welcome", "bob", "calls", 5))
    assert spend("bob", 1) is None


async def test_what_was_spent_can_be_given_back() -> None:
    _, storage, spend = ready()
    spent = spend("ada", 3)
    assert spent is not None
    (tally,) = counted(charge(3, cost=3), "ada", spent).tallies
    assert tally.receipt is not None
    await storage.refund("ada", (tally.receipt,))
    assert storage.counts() == (("ada", "calls", "free", 0),)
    assert spend("ada", 3) is not None


async def test_whoever_counts_otherwise_is_not_got_round() -> None:
    class Counts(MemoryStorage):
        async def consume(self, call: Consume) -> Counted:
            return await super().consume(call)

    assert Counts().spender("free", FREE) is None
    _, storage, spend = ready()
    storage.consume = storage.peek  # as a test does that puts its own there
    assert spend("ada", 1) is None
    delattr(storage, "consume")
    assert spend("ada", 1) is not None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 2**62)), max_size=30))
async def test_an_unlimited_plan_counts_whatever_comes(calls: list[tuple[str, int]]) -> None:
    _, storage, spend = ready(PlainLimit("calls", {"free": None}, nanos(MONTH)))
    used: dict[str, int] = {}
    for subject, units in calls:
        used[subject] = used.get(subject, 0) + units
        spent = spend(subject, units)
        assert spent is not None
        assert spent[2] >> UNITS == used[subject]
    assert {subject: units for subject, _, _, units in storage.counts()} == used
