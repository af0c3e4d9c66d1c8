"""The SQL storages count as the engine does: to one history, MemoryStorage and they give the same answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.state import unpack
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.storage import SqlStorage
from skene.adapters.sql.tables import grants, usage
from skene.adapters.sqlite import SqliteStorage
from skene.engine.counter import Counter
from skene.engine.grants import Pot
from skene.engine.standing import Standing
from skene.engine.window import Anchored, Edges, Rolling, WindowRule, calendar_edges
from skene.errors import IdempotencyConflict
from skene.ports.accounts import Update
from skene.ports.counters import Charge, Consume, Counted, Draft, Notice, Receipt
from skene.ports.grants import Grant
from skene.ports.ledger import Wall
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock

START = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
TOO_LATE = START + 100_000 * DAY
CYCLE = tuple(START + DAY * n for n in (-20, 11, 41, 72))
RULES: tuple[WindowRule, ...] = (
    Anchored(timedelta(days=30)),
    Anchored(timedelta(seconds=7)),
    Rolling(timedelta(days=30)),
    Rolling(timedelta(seconds=61)),
    Edges(calendar_edges("month", "Europe/Helsinki", START)),
    Edges((START - DAY, START + timedelta(hours=7), START + 2 * DAY)),
    Edges(calendar_edges("day", "UTC", START), billing_cycle=True),
    Edges(()),
)
PAUSES = tuple(
    timedelta(seconds=s)
    for s in (-90_000, -3600, -1, 0, 1e-6, 1, 7, 60, 3600, 25_200, 43_200, 86_400, 15 * 86_400, 31 * 86_400)
)
LIMITS: tuple[dict[str, int | None], ...] = (
    {"free": 3, "paid": None},
    {"free": 0, "paid": 5},
    {"free": 7},
    {"free": None, "paid": 4, "gold": 1},
)


@dataclass(frozen=True)
class Wait:
    pause: timedelta


@dataclass(frozen=True)
class WaitForTheEnd:
    """Of the window, or of the oldest part, that was seen last; or nearly so. Then look."""

    off: timedelta


@dataclass(frozen=True)
class Ask:
    """Consume, or peek."""

    charges: tuple[tuple[int, int, int], ...]  # meter, cost, limits
    key: str | None
    fingerprint: str
    spend: bool


@dataclass(frozen=True)
class Deploy:
    """From now on a meter has another rule."""

    meter: int
    rule: WindowRule


@dataclass(frozen=True)
class Refund:
    which: int
    key: str | None


@dataclass(frozen=True)
class Hold:
    plan: str
    lasts: timedelta | None


@dataclass(frozen=True)
class Warn:
    names: tuple[str, ...]


@dataclass(frozen=True)
class Refuse:
    lasts: timedelta


@dataclass(frozen=True)
class Give:
    """Grant units of a meter."""

    key: str
    meter: int
    units: int
    lasts: timedelta | None


Step = Wait | WaitForTheEnd | Ask | Deploy | Refund | Hold | Warn | Refuse | Give

keys = st.sampled_from((None, None, "k1", "k2"))
charges = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 3), st.integers(0, len(LIMITS) - 1)),
    min_size=1,
    max_size=2,
    unique_by=lambda charge: charge[0],
).map(tuple)
lasting = st.sampled_from((DAY, timedelta(hours=1), timedelta(0)))
expiring = st.sampled_from((None, None, DAY, timedelta(seconds=7), timedelta(seconds=61)))
rules = st.sampled_from(RULES)
common: list[st.SearchStrategy[Step]] = [
    st.builds(Ask, charges, st.none(), st.just(""), st.just(True)),
    st.builds(WaitForTheEnd, st.sampled_from((-MICROSECOND, timedelta(0), MICROSECOND))),
    st.builds(Refund, st.integers(0, 1), st.none()),
    st.builds(Wait, st.sampled_from((timedelta(seconds=-61), timedelta(hours=-13)))),
    st.builds(
        Give, st.text("abcdefgh", min_size=1, max_size=1), st.integers(0, 1), st.integers(1, 4), expiring
    ),
]
rare: list[st.SearchStrategy[Step]] = [
    st.builds(Wait, st.sampled_from(PAUSES)),
    st.builds(Ask, charges, keys, st.sampled_from(("f1", "f1", "f2")), st.booleans()),
    st.builds(Deploy, st.integers(0, 1), rules),
    st.builds(Refund, st.integers(0, 4), keys),
    st.builds(Hold, st.sampled_from(("free", "paid", "gold", "lead")), st.none() | lasting),
    st.builds(Warn, st.sampled_from((("half",), ("half", "full")))),
    st.builds(Refuse, lasting),
]
steps = st.one_of(*common, *common, *rare)


class Player:
    """Plays a history on one storage and keeps its answers."""

    def __init__(
        self, storage: Storage, clock: ManualClock, subject: str, rules: tuple[WindowRule, WindowRule]
    ) -> None:
        self.storage, self.clock, self.subject, self.rules = storage, clock, subject, list(rules)
        self.answers: list[object] = []
        self.receipts: list[Receipt] = []
        self.asked: Ask | None = None
        self.last: Counted | None = None
        self.walls = count(1)

    async def bill(self) -> None:
        """Make the subject a customer with billing periods of its own."""
        ticket = await self.storage.begin_sync(f"cus_{self.subject}")
        assert ticket is not None
        window = timedelta(days=30)
        await self.storage.apply_billing(
            Update(ticket, self.subject, Standing("free"), "free", window, cycle=CYCLE)
        )

    async def play(self, step: Step) -> None:
        match step:
            case WaitForTheEnd() if self.asked is not None:
                self.answers.append(await self.ask(replace(self.asked, key=None, spend=False)))
            case Wait() | WaitForTheEnd():
                pass  # the clock is everybody's
            case Deploy(meter, rule):
                self.rules[meter] = rule
            case Ask():
                self.answers.append(await self.ask(step))
            case Refund(which, key):
                receipts = self.receipts[-which - 2 : -which or None]  # some of the latest
                unique = {receipt.meter: receipt for receipt in receipts}
                await self.storage.refund(self.subject, tuple(unique.values()), key)
            case Hold(plan, lasts):
                standing = Standing(plan, self.clock.now() + lasts if lasts is not None else None)
                self.answers.append(
                    await self.storage.set_plan(self.subject, standing, default_plan="free", attribution=DAY)
                )
            case Warn(names):
                self.answers.append(await self.warn(names))
            case Give(key, meter, units, lasts):
                grant = Grant(key, self.subject, f"m{meter}", units, lasts, "invited", "loop")
                news = await self.storage.grant(grant)
                self.answers.append((news, await self.storage.grants(self.subject)))
            case Refuse(lasts):
                self.answers.append(await self.refuse(lasts))

    async def ask(self, step: Ask) -> Counted | str:
        self.asked = step
        items = tuple(
            Charge(f"loop.{meter}", f"m{meter}", cost, LIMITS[limits], self.rules[meter])
            for meter, cost, limits in step.charges
        )
        fingerprint = step.fingerprint if step.key else ""
        asked = Consume(self.subject, "free", items, step.key, fingerprint)
        try:
            answer = await (self.storage.consume(asked) if step.spend else self.storage.peek(asked))
        except IdempotencyConflict:
            return "conflict"
        self.last = answer
        self.receipts += [tally.receipt for tally in answer.tallies if tally.receipt]
        return answer

    async def warn(self, names: tuple[str, ...]) -> bool | None:
        if self.last is None:
            return None
        tally, plan = self.last.tallies[0], self.last.plan
        notice = Notice(self.subject, tally.charge.meter, plan, tally.start, names, ())
        return await self.storage.record_notice(notice)

    async def refuse(self, lasts: timedelta) -> str:
        now = self.clock.now()
        wall = Wall(
            f"{self.subject}-w{next(self.walls)}",
            *("loop", "loop.0", self.subject, "free", "m0", 3, 3),
            now,
            now + lasts,
        )
        drafts = (Draft(wall.id, "upgrade_prompt", "loop", "loop.0", self.subject, "free", "mail", "t", {}),)
        return await self.storage.open_wall(wall, drafts)


@pytest.fixture(params=["sqlite", "postgres"])
async def storage(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[SqlStorage]:
    storage: SqliteStorage | PostgresStorage
    if request.param == "sqlite":
        storage = SqliteStorage(tmp_path / "skene.db", clock=clock)
    else:
        storage = PostgresStorage(request.getfixturevalue("postgres"), clock=clock)
    await storage.start()
    yield storage
    await storage.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


subjects = count(1)


def kept_in_memory(storage: MemoryStorage, subject: str) -> dict[tuple[str, str], Counter]:
    tables = storage._state.counters.items()
    found = {name: unpack(table.get(subject)) for name, table in tables}
    return {name: counter for name, counter in found.items() if counter is not None}


async def kept_in_sql(storage: SqlStorage, subject: str) -> dict[tuple[str, str], Counter]:
    def read(connection: sa.Connection, now: datetime) -> dict[tuple[str, str], Counter]:
        rows = connection.execute(sa.select(usage).where(usage.c.subject == subject))
        return {(row.meter, row.plan): counter(row) for row in rows}

    def counter(row: sa.Row[Any]) -> Counter:
        parts = tuple(zip(row.part_starts, row.part_used, strict=True))
        extra = row.extra if row.extra_since == row.window_start else 0
        return Counter(row.window_start, row.window_end, row.used, parts, tuple(row.notices), extra)

    return await storage._read(read)


async def pots_in_sql(storage: SqlStorage, subject: str) -> list[Pot]:
    """Numbered from 1, as they are in memory."""

    def read(connection: sa.Connection, now: datetime) -> list[Pot]:
        rows = connection.execute(sa.select(grants).where(grants.c.subject == subject).order_by(grants.c.id))
        return [
            Pot(number, row.units, row.spent, row.expires_at, row.spent_at)
            for number, row in enumerate(rows, 1)
        ]

    return await storage._read(read)


@given(
    history=st.lists(steps, min_size=20, max_size=40), rules=st.tuples(rules, rules), customer=st.booleans()
)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_the_same_history_has_the_same_answers(
    storage: SqlStorage,
    clock: ManualClock,
    history: list[Step],
    rules: tuple[WindowRule, WindowRule],
    customer: bool,
) -> None:
    clock.set(START)
    subject = f"subject {next(subjects)}"
    memory = MemoryStorage(clock=clock)
    model = Player(memory, clock, subject, rules)
    player = Player(storage, clock, subject, rules)
    for each in (model, player):
        if customer:
            await each.bill()
    for step in history:
        if isinstance(step, Wait):
            clock.advance(step.pause)
        elif isinstance(step, WaitForTheEnd) and model.last and model.last.tallies[-1].end < TOO_LATE:
            clock.set(model.last.tallies[-1].end + step.off)
        await model.play(step)
        await player.play(step)
        assert player.answers[-1:] == model.answers[-1:]
    assert player.receipts == model.receipts
    assert await kept_in_sql(storage, subject) == kept_in_memory(memory, subject)
    in_memory = [row.pot for row in memory._state.grants.get(subject, ())]
    assert await pots_in_sql(storage, subject) == in_memory
