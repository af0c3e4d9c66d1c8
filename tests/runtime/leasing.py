"""Histories of two processes that lease units, and a model that knows every unit's fate."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from anyio.abc import TaskGroup
from hypothesis import strategies as st

from skene import Decision
from skene.engine.window import EPOCH, Rolling
from skene.runtime.asks import Ask
from skene.runtime.beside import beside
from skene.runtime.gate import Admission
from skene.runtime.leases import Leases
from tests.runtime.shop import Shop, freemium

__all__ = ["LEASE", "STEPS", "Step", "play"]

PEOPLE = ("ada", "bob")
LIMITS = {"free": 60, "paid": 100}
LEASE = 10
PAUSES = (0.1, 0.9, 1.0, 4.0, 9.9, 10.0, 31.0)

Step = tuple[str, int, int, int]
"""What is done, by which process, about whom, and how much."""

_KINDS = ("call", "call", "call", "burst", "burst", "begin", "fail", "wait", "sweep", "stop", "crash", "plan")
STEPS = st.lists(
    st.tuples(st.sampled_from(_KINDS), st.integers(0, 1), st.integers(0, 1), st.integers(0, 40)),
    min_size=10,
    max_size=60,
)


@dataclass
class Use:
    """Units of one call.

    Attributes:
        at: when it was decided. `start` and `plan`: the counter that it was charged to.
    """

    subject: str
    plan: str
    start: datetime
    at: datetime
    units: int


@dataclass
class Books:
    """What has become of every unit."""

    uses: list[Use] = field(default_factory=list[Use])
    stranded: list[tuple[str, str, datetime, int]] = field(
        default_factory=list[tuple[str, str, datetime, int]]
    )

    def used(self, decision: Decision) -> int:
        return sum(
            use.units
            for use in self.uses
            if (use.subject, use.plan, use.start) == (decision.subject, decision.plan, decision.window_start)
        )

    def lost(self, decision: Decision) -> int:
        where = (decision.subject, decision.plan, decision.window_start)
        return sum(units for *found, units in self.stranded if tuple(found) == where)

    def trailing(self, decision: Decision, now: datetime, length: timedelta) -> int:
        return sum(
            use.units
            for use in self.uses
            if (use.subject, use.plan) == (decision.subject, decision.plan) and use.at > now - length
        )


class Players:
    """Two processes, and the books over what they do."""

    def __init__(self, period: Any, tasks: TaskGroup) -> None:
        self.tasks = tasks
        self.shop = Shop(freemium(limits=LIMITS, lease=LEASE, period=period), worker=False)
        self.shop.clock.set(self.shop.clock.now().replace(microsecond=123_456))
        self.audit = self.shop.twin()
        (step,) = self.audit.skene.program.steps
        self.step = step
        rule = step.rule(EPOCH)
        self.rolling = rule.length if isinstance(rule, Rolling) else None
        self.books = Books()
        self.processes: list[Shop] = []
        self.begun: list[tuple[int, Admission, Use]] = []

    def start(self) -> None:
        for _ in range(2):
            self.processes.append(self.begin())

    def begin(self) -> Shop:
        """A process whose leases nobody looks after but the steps of the history."""
        process = self.shop.twin(worker=False)
        process.skene._leases._tasks = self.tasks
        process.skene._leases._open = True
        return process

    def leases(self, number: int) -> Leases:
        return self.processes[number].skene._leases

    def unspent(self, numbers: Iterable[int], subject: str) -> int:
        kept = (self.leases(number)._table.of(subject) for number in numbers)
        return sum(lease.left for leases in kept for lease in leases)

    # -- steps -----------------------------------------------------------------------------------------------

    async def step_call(self, number: int, subject: str, units: int) -> None:
        await self.admit(number, subject, 1 + units % 6)

    async def step_burst(self, number: int, subject: str, units: int) -> None:
        for _ in range(units):
            await self.admit(number, subject, 1)

    async def step_begin(self, number: int, subject: str, units: int) -> None:
        admitted = await self.admit(number, subject, 1 + units % 6)
        if admitted is not None:
            self.begun.append((number, *admitted))

    async def step_fail(self, number: int, subject: str, units: int) -> None:
        """One that was begun fails, and costs nothing."""
        if self.begun:
            number, admission, use = self.begun.pop(units % len(self.begun))
            await self.processes[number].skene.gatekeeper.release(admission)
            self.books.uses.remove(use)

    async def step_wait(self, number: int, subject: str, units: int) -> None:
        self.shop.clock.advance(timedelta(seconds=PAUSES[units % len(PAUSES)]))

    async def step_sweep(self, number: int, subject: str, units: int) -> None:
        await self.leases(number).sweep()

    async def step_stop(self, number: int, subject: str, units: int) -> None:
        await self.leases(number).close()
        self.processes[number] = self.begin()

    async def step_crash(self, number: int, subject: str, units: int) -> None:
        """Whatever it holds is lost, and calls that were under way stay charged."""
        for lease in self.leases(number)._table:
            assert lease.left <= LEASE, "more was lost than a block"
            start = lease.counted.tallies[0].start
            self.books.stranded.append((lease.call.subject, lease.receipt.plan, start, lease.left))
        self.begun = [one for one in self.begun if one[0] != number]
        self.processes[number] = self.begin()

    async def step_plan(self, number: int, subject: str, units: int) -> None:
        await self.processes[number].skene.set_plan(subject, ("free", "paid")[units % 2])

    # -- what must hold --------------------------------------------------------------------------------------

    async def admit(self, number: int, subject: str, units: int) -> tuple[Admission, Use] | None:
        gatekeeper = self.processes[number].skene.gatekeeper
        admission = await gatekeeper.admit(subject, (Ask(self.step, units),))
        decision, now = admission.decision, self.shop.clock.now()
        assert decision.window_start is not None
        if not decision.allowed:
            if self.rolling is None:
                elsewhere = self.unspent([1 - number], subject) + self.books.lost(decision)
                used = self.books.used(decision)
                assert used + elsewhere + units > LIMITS[decision.plan], "refused for its own lease"
            return None
        use = Use(subject, decision.plan, decision.window_start, now, units)
        self.books.uses.append(use)
        if self.rolling is None:
            assert decision.resets_at is not None
            assert decision.window_start <= now < decision.resets_at, "spent outside of its window"
            assert self.books.used(decision) <= LIMITS[decision.plan], "beyond the limit"
        else:
            trailing = self.books.trailing(decision, now, self.rolling)
            assert trailing <= LIMITS[decision.plan], "beyond the limit"
        assert self.unspent([number], subject) <= LEASE, "more than a block lies here"
        return admission, use

    async def end(self) -> None:
        """Both stop; then the storage has counted what was used, and what crashes have stranded."""
        for number in range(2):
            await self.leases(number).close()
        for subject in PEOPLE:
            (decision,) = await self.audit.skene.usage(subject)
            if self.rolling is None:
                expected = self.books.used(decision) + self.books.lost(decision)
                assert decision.used == expected, "counted and used differ"
            else:
                used = self.books.trailing(decision, self.shop.clock.now(), self.rolling)
                assert decision.used >= used, "less was counted than used"


async def play(period: Any, steps: list[Step]) -> None:
    """Play a history.

    Raises:
        AssertionError: something that must hold did not.
    """
    async with beside(_nothing) as tasks:
        players = Players(period, tasks)
        players.start()
        for kind, number, who, units in steps:
            await getattr(players, f"step_{kind}")(number, PEOPLE[who], units)
        await players.end()


async def _nothing() -> None:
    """What goes on beside them."""
