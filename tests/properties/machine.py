"""The machine: whatever happens, skene decides as the model does."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import anyio
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from skene.engine.decision import Decision, Reason
from skene.errors import IdempotencyConflict
from skene.runtime.gate import Admission
from tests.properties.model import LIMITS, Asked, Bought, Conflict, Expected, Model, Use
from tests.properties.windows import HOUR, MONTH, NEVER, base
from tests.properties.world import World

__all__ = ["QuotaMachine"]

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)
ALL_METERS = (*[meter for meter in LIMITS if meter != "pages"], "pages:/a", "pages:/b")

who = st.sampled_from(("ada", "ada", "ada", "bob", "visitor"))
meters = st.sampled_from((0, 0, 0, 1, 2))
"""A meter's place among the few that are played with."""
units = st.sampled_from((1, 1, 1, 2, 3))
Places = tuple[tuple[int, int], ...]
asked_once = st.tuples(st.tuples(meters, units))
asked_twice = st.tuples(st.tuples(st.just(0), units), st.tuples(st.just(1), units))
pauses = st.sampled_from(
    [timedelta(seconds=s) for s in (1, 30, 59, 61, 600, 3600, 3660, 86_400, 15 * 86_400, 31 * 86_400)]
)
short = st.sampled_from([timedelta(seconds=s) for s in (0, 0, 1, 61, 3600)])
back = st.sampled_from([timedelta(seconds=s) for s in (1e-6, 1, 60, 600, 3600, 86_400)])
offs = st.sampled_from((-MICROSECOND, timedelta(0), MICROSECOND))
lengths = st.sampled_from((None, None, "1h", "30d"))
plans = st.sampled_from(("free", "starter", "pro"))
prices = st.sampled_from(("price_starter", "price_pro"))


@dataclass
class Held:
    """Units that a call has taken, which may be given back; on skene's side and on the model's."""

    name: str
    admission: Admission
    uses: list[Use]
    key: str | None


class QuotaMachine(RuleBasedStateMachine):
    """Everything that can happen to a quota. Subclasses say in which world."""

    new_world: ClassVar[Callable[[], World]]
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).new_world()
        self.model = Model(self.world.bought)
        self.edge = self.world.clock.now()
        self.focus: tuple[str, Asked] | None = None
        self.walls: set[str | None] = set()
        self.delivered: set[str] = set()
        self.erased: set[str] = set()
        self.special = False

    @initialize(cast=st.lists(st.sampled_from(ALL_METERS), min_size=2, max_size=3, unique=True))
    def choose(self, cast: list[str]) -> None:
        """Only a few meters, or nothing is ever used up."""
        self.cast = cast

    def meter(self, place: int) -> str:
        return self.cast[place % len(self.cast)]

    def metered(self, asked: Places) -> Asked:
        return tuple((self.meter(place), cost) for place, cost in asked)

    def name(self, person: str) -> str:
        """What a person is called here: nobody in another world is called so."""
        return f"{person}{self.world.number}"

    @property
    def now(self) -> datetime:
        return self.world.clock.now()

    # -- calls -----------------------------------------------------------------------------------------------

    @rule(target=held, person=who, asked=asked_once | asked_twice)
    def call(self, person: str, asked: Places) -> Any:
        """A route is called, with one or two steps before it."""
        return self.admitted(person, self.metered(asked), None, "")

    @rule(target=held, person=who, asked=asked_once, key=st.sampled_from("kl"), body=st.sampled_from("xxy"))
    def repeat(self, person: str, asked: Places, key: str, body: str) -> Any:
        """The same with an idempotency key, which others may use, too."""
        return self.admitted(person, self.metered(asked), key, body)

    def admitted(self, person: str, asked: Asked, key: str | None, body: str) -> Any:
        name, stands_for = self.name(person), f"{asked}{body}"
        if self.stale(name, key):
            return multiple()
        try:
            expected, uses = self.model.consume(name, asked, self.now, key, stands_for)
        except Conflict:
            try:
                self.world(self.world.admit, name, asked, key, stands_for)
            except IdempotencyConflict:
                return multiple()
            raise AssertionError("a key that stands for another call was taken for this one") from None
        admission = self.world(self.world.admit, name, asked, key, stands_for)
        self.compare(name, admission.decision, expected, asked)
        return Held(name, admission, uses, key) if uses else multiple()

    def stale(self, name: str, key: str | None) -> bool:
        """Whether a store may have forgotten a key: they keep them for a day."""
        known = self.model.person(name).keys.get(key or "")
        return known is not None and abs(self.now - known.at) >= DAY

    @rule(person=who, meter=meters, cost=units)
    def consume(self, person: str, meter: int, cost: int) -> None:
        """Code counts by name."""
        name, asked = self.name(person), ((base(self.meter(meter)), cost),)
        expected, _ = self.model.consume(name, asked, self.now)
        decision = self.world(self.world.skene.consume, name, *asked[0])
        self.compare(name, decision, expected, asked)

    @rule(person=who, meter=meters, cost=units)
    def check(self, person: str, meter: int, cost: int) -> None:
        """Looking charges nothing, and asks nobody."""
        name, asked = self.name(person), ((base(self.meter(meter)), cost),)
        decision = self.world(self.world.skene.check, name, *asked[0])
        self.same(decision, self.model.decide(name, asked, self.now))

    @rule(person=who, meter=meters, calls=st.integers(2, 6))
    def rush(self, person: str, meter: int, calls: int) -> None:
        """Many at once: as many pass as there is room for."""
        name, asked = self.name(person), ((base(self.meter(meter)), 1),)
        if self.model.may_look(self.model.person(name), self.now):
            return  # who is refused while others wait for Stripe is nobody's promise
        person = self.model.person(name)
        before = set(person.warnings)
        expected = [self.model.consume(name, asked, self.now)[0].allowed for _ in range(calls)]
        passed: list[bool] = []

        async def one() -> None:
            passed.append((await self.world.skene.consume(name, *asked[0])).allowed)

        async def all_of_them() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(calls):
                    tasks.start_soon(one)

        self.world(all_of_them)
        assert sum(passed) == sum(expected)
        self.focus = name, asked
        # Those of them that cross two thresholds may be told of both, or of the higher one alone.
        new = sorted(person.warnings - before, key=lambda about: about[-1])
        told = self.told(name, "usage_warning") - len(before)
        assert min(1, len(new)) <= told <= len(new)
        person.warnings -= set(new[: len(new) - told])

    @rule(person=who, asked=asked_once, by=short | st.none(), off=offs, key=st.sampled_from((None, "k")))
    def overtake(
        self, person: str, asked: Places, by: timedelta | None, off: timedelta, key: str | None
    ) -> None:
        """A handler takes its time, another call comes meanwhile, it fails, and is tried again."""
        slow = self.admitted(person, self.metered(asked), key, "")
        if by is not None:
            self.wait(by)
        else:
            self.go_to_the_edge(off)
        self.admitted(person, self.metered(asked), None, "")
        if isinstance(slow, Held):
            self.fail_one(slow)
        self.admitted(person, self.metered(asked), key, "")

    @rule(one=consumes(held))
    def fail(self, one: Held) -> None:
        """A handler has failed: all it took is given back, and its key may charge again."""
        self.fail_one(one)

    def fail_one(self, one: Held) -> None:
        if not self.late(one):
            self.model.give_back(one.name, one.uses, self.now, key=one.key)
            self.world(self.world.skene.gatekeeper.release, one.admission)

    @rule(one=consumes(held), used=st.integers(0, 2))
    def settle(self, one: Held, used: int) -> None:
        """Less was needed than was held."""
        left = one.uses[0].units - used
        if len(one.uses) == 1 and left > 0 and not self.late(one):
            self.model.give_back(one.name, one.uses, self.now, units=left)
            self.world(self.world.skene.gatekeeper.release, one.admission, left)

    def late(self, one: Held) -> bool:
        """Whether nobody promises any more what becomes of it."""
        merged = one.name in self.model.became
        return one.name in self.erased or self.stale(one.name, one.key) or merged

    # -- time ------------------------------------------------------------------------------------------------

    @rule(by=pauses)
    def wait(self, by: timedelta) -> None:
        self.world.clock.advance(by)

    @rule(by=back)
    def step_back(self, by: timedelta) -> None:
        self.world.clock.advance(-by)

    @rule(off=offs)
    def go_to_the_edge(self, off: timedelta) -> None:
        """The end of the window that was told last, or nearly so."""
        self.world.clock.set(self.edge + off)

    # -- plans -----------------------------------------------------------------------------------------------

    @rule(person=who, price=prices, told=st.booleans())
    def subscribe(self, person: str, price: str, told: bool) -> None:
        """Told: the webhook comes at once; else some time, or never."""
        self.world(self.world.stripe.subscribe, self.name(person), price)
        if told:
            self.hear(self.events[-1])

    @rule(
        person=who,
        what=st.sampled_from(("price_starter", "price_pro", "active", "unpaid", "canceled", "at the end")),
        told=st.booleans(),
    )
    def change(self, person: str, what: str, told: bool) -> None:
        """The same of what happens to a subscription."""
        stripe, name = self.world.stripe, self.name(person)
        before = len(self.events)
        with suppress(LookupError):
            if what == "at the end":
                self.world(partial(stripe.cancel, name, at_period_end=True))
            else:
                change = stripe.switch_price if what.startswith("price") else stripe.set_status
                self.world(change, name, what)
        if told and len(self.events) > before:
            self.hear(self.events[-1])

    @rule()
    def renew(self) -> None:
        """Whatever is due at Stripe happens there."""
        self.world(self.world.stripe.catch_up)

    @precondition(lambda self: self.events)
    @rule(which=st.just(0) | st.integers(0, 20))
    def deliver(self, which: int) -> None:
        """A webhook arrives: often the latest, else any of them, for the first time or not."""
        self.hear(self.events[-1 - which % len(self.events)])

    def hear(self, event: dict[str, Any]) -> None:
        assert self.world(self.world.stripe.send, event)
        if event["id"] not in self.delivered:
            customer = event["data"]["object"]["customer"]
            named = self.world.stripe.get(customer)["metadata"]["skene_subject"]
            if customer not in self.model.blocked:
                self.delivered.add(event["id"])
            self.model.learn(customer, named, self.now)
            self.focus = named, ((self.cast[0], 1),)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [one for one in self.world.stripe.events if one["type"].startswith("customer.subscription.")]

    @rule(person=who, plan=plans, days=st.sampled_from((None, None, 1, 40, -1)))
    def set_plan(self, person: str, plan: str, days: int | None) -> None:
        name, until = self.name(person), NEVER if days is None else self.now + timedelta(days=days)
        bought = Bought(plan, until, self.model.person(name).bought.edges)
        self.model.hold(name, bought, self.now)
        self.world(partial(self.world.skene.set_plan, name, plan, until=None if days is None else until))

    # -- more than the plan ----------------------------------------------------------------------------------

    @rule(person=who, meter=meters, number=st.integers(1, 3), key=st.sampled_from("gh"), lasts=lengths)
    def grant(self, person: str, meter: int, number: int, key: str, lasts: str | None) -> None:
        name, counter = self.name(person), self.meter(meter)
        expected = self.model.grant(name, counter, number, key, self.until(lasts))
        self.special = True
        granted = self.world(partial(self.world.skene.grant, name, counter, number, key=key, expires=lasts))
        assert granted == expected
        self.focus = name, ((counter, 1),)

    @rule(person=who, meter=meters, limit=st.none() | st.integers(0, 5), lasts=lengths)
    def override(self, person: str, meter: int, limit: int | None, lasts: str | None) -> None:
        name, counter = self.name(person), self.meter(meter)
        self.special = True
        self.model.person(name).own[counter] = limit, self.until(lasts)
        told = "unlimited" if limit is None else limit
        self.world(partial(self.world.skene.override, name, counter, told, expires=lasts))
        self.focus = name, ((counter, 1),)

    @rule(person=who, meter=meters)
    def end_override(self, person: str, meter: int) -> None:
        name, counter = self.name(person), self.meter(meter)
        _, until = self.model.person(name).own.pop(counter, (None, self.now))
        assert self.world(self.world.skene.end_override, name, counter) == (self.now < until)
        self.focus = name, ((counter, 1),)

    def until(self, lasts: str | None) -> datetime:
        return NEVER if lasts is None else self.now + {"1h": HOUR, "30d": MONTH}[lasts]

    # -- people ----------------------------------------------------------------------------------------------

    @rule(person=st.sampled_from(("visitor", "bob")), into=who)
    def merge(self, person: str, into: str) -> None:
        name, known = self.name(person), self.name(into)
        if self.model.living(known) == name or name == known:
            return
        self.model.merge(name, known, self.now)
        self.world(self.world.skene.merge, name, known)
        if self.focus is not None:
            self.focus = known, self.focus[1]

    @rule(person=who, sure=st.booleans())
    def forget(self, person: str, sure: bool) -> None:
        """Now and then: with nobody left there is nothing to see."""
        name = self.name(person)
        if not sure or self.model.living(name) != name:
            return
        self.erased |= {name, *(one for one, into in self.model.became.items() if into == name)}
        self.model.forget(name)
        self.world(self.world.skene.forget, name)

    # -- what must be so -------------------------------------------------------------------------------------

    def compare(self, name: str, decision: Decision, expected: Expected, asked: Asked) -> None:
        self.focus = name, asked
        self.same(decision, expected)
        if decision.allowed:
            assert decision.wall is None
            free = decision.limit is None or decision.reason is Reason.REPLAYED or self.special
            assert free or decision.used <= decision.limit  # the first law, whatever the model thinks
            return
        wall = self.model.person(name).walls[base(expected.meter), expected.plan]
        if wall.id is None:
            assert wall.either or decision.wall not in self.walls, "a new window has an old wall"
            wall.id = decision.wall
            self.walls.add(decision.wall)
        assert decision.wall == wall.id, "a wall is told twice"

    def same(self, decision: Decision, expected: Expected) -> None:
        told = (
            decision.allowed,
            decision.reason.value,
            decision.meter,
            decision.plan,
            decision.limit,
            decision.used,
            decision.remaining,
            decision.resets_at,
        )
        left = None if expected.limit is None else max(0, expected.limit - expected.used)
        assert told == (
            expected.allowed,
            expected.reason,
            expected.meter,
            expected.plan,
            expected.limit,
            expected.used,
            left,
            expected.resets_at,
        )
        if decision.resets_at is not None:
            self.edge = decision.resets_at

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        """Where something has just happened; and that nobody was asked or warned more than once."""
        if self.focus is None:
            return
        name, asked = self.focus
        looked = self.world(self.world.skene.gatekeeper.look, name, self.world.asks(asked))
        for one, (meter, units) in zip(looked, asked, strict=True):
            self.same(one, self.model.decide(name, ((meter, units),), self.now))
        person = self.model.person(name)
        assert self.told(name, "upgrade_prompt") == len(person.prompts)
        assert self.told(name, "usage_warning") == len(person.warnings)

    def told(self, name: str, kind: str) -> int:
        """How many messages of a kind there are about somebody."""
        messages = self.world(self.world.storage.messages, self.model.living(name))
        return sum(draft.kind == kind for draft, _, _ in messages)
