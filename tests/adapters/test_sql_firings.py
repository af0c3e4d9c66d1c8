"""Firings in the SQL storages at the size, and with the faults, that only a database has."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest
import sqlalchemy as sa

from skene.adapters.sql import recording
from skene.adapters.sql.tables import METADATA
from skene.engine.standing import Standing
from skene.ports.contacts import Suppressed
from skene.ports.firings import (
    Closing,
    Entry,
    Firing,
    Journey,
    Outcome,
    Repeat,
    Watcher,
)
from skene.ports.grants import Grant
from skene.ports.outbox import Begun, Later, Rules
from skene.ports.overrides import Override
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import apply, call, charge, gather, refuse_once, set_plan, wall
from skene.testing.conformance.happening import (
    ACTED,
    BROKE,
    DAY,
    EPISODE,
    LEASE,
    SCANNED,
    SENT,
    begin_journey,
    fired,
    mail,
    post,
    send,
    take,
    take_firing,
)
from skene.testing.conformance.merging_rest import tells_of_merge
from tests.support.sql_stores import Opener, Sql, counts, tick, whole

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage(another: Opener) -> Sql:
    return await another()


async def test_what_breaks_half_way_leaves_nothing(storage: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    """L10: messages, journey, next firing, log and the end of the firing are one transaction."""
    await storage.emit("ada", (fired(),), {})
    firing = await take_firing(storage)
    before = await counts(storage)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    entry = whole("ada", "f1")
    for name in ("_begin", "post", "enter", "log", "_close"):
        with monkeypatch.context() as patch:
            patch.setattr(recording, name, broken)
            with pytest.raises(ZeroDivisionError):
                await storage.record(firing, (entry,), repeat=Repeat(max_fires=1), closing=ACTED)
        assert await counts(storage) == before
    assert (await storage.record(firing, (entry,), repeat=Repeat(max_fires=1), closing=ACTED)).acted == 1


@pytest.mark.parametrize("repeat", [EPISODE, Repeat()])
async def test_a_tick_that_is_taken_over_acts_once_upon_everybody(
    storage: Sql, another: Opener, clock: ManualClock, repeat: Repeat
) -> None:
    """L9, L10: 3,000 rows in batches of 1,000, its worker lost in between, and again after that."""
    names = [f"s{n:04}" for n in range(3_000)]
    batches = [names[n : n + 1_000] for n in (0, 1_000, 2_000)]
    first = await tick(storage, clock)

    async def record(worker: Sql, firing: Firing, names: list[str]) -> int:
        entries = tuple(whole(name, firing.key) for name in names)
        recorded = await worker.record(firing, entries, repeat=repeat, lease=LEASE)
        return recorded.acted if recorded.held else -1

    assert [await record(storage, first, names) for names in batches[:2]] == [1_000, 1_000]
    clock.advance(LEASE)
    second = await another()
    later = await take_firing(second)
    assert await record(storage, first, batches[2]) == -1
    mixed = [*names[1_500:2_500], *names[:1_500], *names[2_500:]]  # no order is promised by a query
    assert [await record(second, later, mixed[n : n + 1_000]) for n in (0, 1_000, 2_000)] == [500, 0, 500]
    assert (await second.record(later, (), closing=SCANNED)).held
    assert await counts(storage) == {
        "outbox": 6_000,
        "firings": 3_001,
        "journeys": 3_000,
        "recipients": 3_000,
        "decisions": 3_001,
    }


async def test_episodes_of_a_thousand(storage: Sql, clock: ManualClock) -> None:
    """Decision 25: a scan that failed half-way makes nobody new, and who has left is new again."""
    names = [f"s{n:03}" for n in range(1_000)]

    async def scan(names: list[str], closing: Closing = SCANNED) -> int:
        firing = await tick(storage, clock)
        entries = tuple(Entry(name, Outcome.ACTED, (mail(f"{firing.key}:{name}"),)) for name in names)
        recorded = await storage.record(firing, entries, repeat=EPISODE, closing=closing)
        assert recorded.held
        return recorded.acted

    assert await scan(names) == 1_000
    assert await scan(names[:300], BROKE) == 0
    assert await scan(names) == 0
    assert await scan(names[500:]) == 0
    assert await scan(names[:10], BROKE) == 10
    assert await scan(names) == 490


@pytest.mark.parametrize(
    ("repeat", "acts"),
    [
        (Repeat(), [2, 2, 2, 2]),
        (Repeat(max_fires=2), [2, 2, 0, 0]),
        (Repeat(cooldown=2 * DAY), [2, 0, 2, 0]),
        (Repeat(cooldown=2 * DAY, max_fires=1), [2, 0, 0, 0]),
        (EPISODE, [2, 0, 0, 0]),
        (Repeat(episode=True, cooldown=DAY, max_fires=5), [2, 0, 0, 0]),
    ],
)
async def test_rules_of_repeating(storage: Sql, clock: ManualClock, repeat: Repeat, acts: list[int]) -> None:
    """Decision 25, in the one statement that asks and remembers."""
    found: list[int] = []
    for _ in acts:
        firing = await tick(storage, clock)
        entries = tuple(Entry(name, Outcome.ACTED) for name in ("ada", "bob"))
        found.append((await storage.record(firing, entries, repeat=repeat, closing=SCANNED)).acted)
    assert found == acts


async def test_a_pace_holds_over_two_storages(storage: Sql, another: Opener, clock: ManualClock) -> None:
    """Decision 26: ten a second, by whomever; and what has no pace waits for a hold too."""
    await post(storage, clock, *(mail(f"m{n}") for n in range(11)))
    messages = await storage.claim(10, LEASE)
    two = (storage, await another())
    rules = Rules(pace=timedelta(seconds=0.1))
    begun = await gather(
        partial(two[n % 2].begin_attempt, message, {}, rules) for n, message in enumerate(messages)
    )
    waits = sorted(one.wait for one in begun if isinstance(one, Begun))
    assert len(waits) == 10
    assert all(late - soon >= timedelta(seconds=0.1) for soon, late in pairwise(waits))
    assert waits[-1] == timedelta(seconds=0.9)
    last = await take(two[1])
    patience = Rules(pace=timedelta(seconds=0.1), patience=timedelta(seconds=0.5))
    assert await two[1].begin_attempt(last, {}, patience) == Later(timedelta(seconds=1))
    assert await two[1].begin_attempt(last, {}, rules) == Begun(timedelta(seconds=1)), "no turn was taken"


async def test_lapses_are_noted_once_by_ten(storage: Sql, another: Opener, clock: ManualClock) -> None:
    """Decision 24: every watcher hears once of each, however many look at once."""
    ends = clock.now() + DAY
    for n in range(30):
        await set_plan(storage, Standing("paid", ends, paying=True), subject=f"s{n}")
    watchers = (Watcher("reverse", "reverse.0"), Watcher("reverse", "reverse.1"))
    clock.set(ends)
    two = (storage, await another())
    noted = await gather(partial(two[n % 2].note_lapses, watchers, 100) for n in range(10))
    assert sum(noted) == 30
    _, heard = await storage.claim_firings(100, LEASE)
    assert sorted((one.subject, one.step) for one in heard) == sorted(
        (f"s{n}", watcher.step) for n in range(30) for watcher in watchers
    )
    assert all(one.data == {"from": "paid", "to": "free"} for one in heard)


async def test_an_id_of_somebody_erased_is_nobody_elses_claim(storage: Sql, clock: ManualClock) -> None:
    """Decision 31: SQLite gives it away again; whoever still holds the erased one has lost it."""
    await storage.emit("ada", (fired(),), {})
    await post(storage, clock, mail())
    firing, message = await take_firing(storage), await take(storage)
    await storage.forget("ada")
    await storage.emit("bob", (fired("f2", subject="bob"),), {})
    await storage.open_wall(wall(clock, "w2", subject="cy"), (mail("m2", subject="bob"),))
    assert (await take_firing(storage)).claim == firing.claim
    assert (await take(storage)).claim == message.claim
    assert not await storage.keep_firing(firing, LEASE)
    assert not (await storage.record(firing, (), closing=ACTED)).held
    assert await storage.begin_attempt(message, {}) is None
    assert not await storage.settle(message, SENT)


async def test_nothing_is_left_of_a_name(storage: Sql, clock: ManualClock) -> None:
    """Decision 31: whatever was done to somebody, no table has the id after `forget`."""
    name = "ada-whose-name-is-found"
    watchers = (Watcher("reverse", "reverse.0"),)
    await refuse_once(storage, clock, subject=name)
    await apply(storage, subject=name)
    standing = Standing("gold", paying=True)
    await storage.set_plan(name, standing, default_plan="free", attribution=DAY, watchers=watchers)
    await storage.suppress(Suppressed.UNSUBSCRIBED, subject=name, source="link")
    for message in await storage.claim(10, LEASE):
        await send(storage, message, "p1")
    await storage.postpone_firing(await take_firing(storage), 9 * DAY)
    await begin_journey(storage, "j1", subject=name)
    firing = await tick(storage, clock)
    entry = replace(
        whole(name, "t"),
        journey=Journey("j2", "welcome", name),
        next=(fired("n", subject=name, data={"id": name}),),
    )
    await storage.record(firing, (entry,), repeat=EPISODE, closing=SCANNED)
    await storage.emit(name, (fired("f9", subject=name, data={"id": name}),), {"welcome": DAY})
    visitor = f"visitor of {name}"
    await storage.set_override(Override(name, "calls", 5))
    await storage.consume(call(charge(meter=f"calls@{name}"), subject="a team"))
    await storage.grant(Grant("k", visitor, "calls", 5))
    await storage.merge(visitor, name, drafts=(tells_of_merge(visitor),))

    def mentions(connection: sa.Connection, now: object) -> list[str]:
        return [
            table.name
            for table in METADATA.sorted_tables
            if name in str(connection.execute(sa.select(table)).all())
        ]

    found = await storage._read(mentions)
    loops = ("firings", "recipients", "journeys", "suppressions", "decisions", "outbox")
    others = ("overrides", "usage", "grants", "customers")
    assert {f"skene_{table}" for table in (*loops, *others)} < set(found)
    assert await storage.forget(name) > 0
    assert await storage._read(mentions) == []
    assert (await storage.funnel(loop="welcome"))[0].journeys == 2
