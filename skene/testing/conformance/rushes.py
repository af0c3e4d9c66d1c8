"""Firings and messages when everybody comes at once, through two storages, by the real clock."""

from datetime import timedelta
from functools import partial
from itertools import pairwise

from skene.ports.contacts import Suppressed
from skene.ports.firings import Entry, Firing, Journey, Outcome, Recorded, Repeat
from skene.ports.outbox import Begun, Later, MessageState, Rules
from skene.ports.outbox import Outcome as Ending
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import ConformanceBase, StorageFactory, gather, wall
from skene.testing.conformance.happening import (
    ACTED,
    DAY,
    LEASE,
    SCANNED,
    SENT,
    entry,
    fired,
    mail,
)

WEEK = timedelta(days=7)
LONG = timedelta(minutes=10)


async def pair(factory: StorageFactory, times: int) -> list[Storage]:
    """Two storages over the same data, in turn."""
    two = (await factory(), await factory())
    return [two[n % 2] for n in range(times)]


async def posted(storage: Storage, count: int) -> None:
    """Marketing mails to one subject."""
    clock = ManualClock((await storage.claim_firings(1, LEASE))[0])
    drafts = tuple(mail(f"m{n}") for n in range(count))
    await storage.open_wall(wall(clock, "w1", subject="poster"), drafts)


class RushConformance(ConformanceBase):
    """L4, L9 and L10 under load."""

    async def test_100_tasks_claim_100_firings(self, storage_factory: StorageFactory) -> None:
        """L9: each firing is in one worker's hands, and none is left over."""
        storages = await pair(storage_factory, 100)
        await storages[0].emit("ada", tuple(fired(f"f{n}") for n in range(100)), {})

        async def work(storage: Storage) -> list[int]:
            mine: list[int] = []
            while claimed := (await storage.claim_firings(1, LONG))[1]:
                mine += [firing.id for firing in claimed]
            return mine

        taken = [name for mine in await gather(partial(work, one) for one in storages) for name in mine]
        assert len(taken) == len(set(taken)) == 100

    async def test_workers_record_each_firing_once(self, storage_factory: StorageFactory) -> None:
        """L9, L10: ten workers empty sixty firings; each acts once and is logged once."""
        storages = await pair(storage_factory, 10)
        await storages[0].emit("ada", tuple(fired(f"f{n}") for n in range(60)), {})

        async def work(storage: Storage) -> int:
            acted = 0
            while claimed := (await storage.claim_firings(4, LONG))[1]:
                assert len(claimed) <= 4
                for firing in claimed:
                    recorded = await storage.record(firing, (entry("ada", firing.key),), closing=ACTED)
                    assert recorded.held
                    acted += recorded.acted
            return acted

        assert sum(await gather(partial(work, one) for one in storages)) == 60
        assert len({row.firing for row in await storages[1].decisions()}) == 60
        assert dict(await storages[1].outbox_counts()) == {MessageState.PENDING: 60}
        assert await storages[0].pending_firings() == 0

    async def test_50_emits_of_one_key(self, storage_factory: StorageFactory) -> None:
        """Decision 22: one event that is delivered 50 times at once fires once; crossed keys do not block."""
        storages = await pair(storage_factory, 50)
        assert sum(await gather(partial(one.emit, "ada", (fired(),), {}) for one in storages)) == 1
        both = (fired("a"), fired("b"))
        orders = (both, both[::-1])
        new = await gather(partial(one.emit, "ada", orders[n // 2 % 2], {}) for n, one in enumerate(storages))
        assert sum(new) == 2
        assert await storages[0].pending_firings() == 3

    async def test_50_goals_while_their_firings_are_recorded(self, storage_factory: StorageFactory) -> None:
        """Decision 21: each is on the firing in time, or finds the journey; crossed ones do not block."""
        storages = await pair(storage_factory, 50)
        for subjects in ([f"s{n}" for n in range(50)], ["ada"] * 50):
            new = tuple(fired(f"{who}:{n}", subject=who) for n, who in enumerate(subjects))
            for firing in new:
                await storages[0].emit(firing.subject, (firing,), {})
            _, claimed = await storages[0].claim_firings(50, LONG)

            async def begin(storage: Storage, firing: Firing) -> int:
                journey = Journey(firing.key, "welcome", firing.subject)
                entries = (Entry(firing.subject, Outcome.ACTED, journey=journey),)
                return int((await storage.record(firing, entries, closing=ACTED)).held)

            both = [
                call
                for one, firing in zip(storages, claimed, strict=True)
                for call in (
                    partial(begin, one, firing),
                    partial(one.emit, firing.subject, (), {"welcome": WEEK}),
                )
            ]
            assert sum(await gather(both)) == 50
        (row,) = await storages[1].funnel()
        assert (row.journeys, row.goals) == (100, 100)

    async def test_20_begin_and_one_may_send(self, storage_factory: StorageFactory) -> None:
        """Decision 27: two workers never pass the cap together."""
        storages = await pair(storage_factory, 20)
        await posted(storages[0], 20)
        claimed = await storages[0].claim(20, LONG)
        rules = Rules(cap=(1, WEEK))
        answers = await gather(
            partial(one.begin_attempt, message, {}, rules)
            for one, message in zip(storages, claimed, strict=True)
        )
        assert [answer for answer in answers if isinstance(answer, Begun)] == [Begun()]
        assert sum(isinstance(answer, Later) and answer.capped for answer in answers) == 19

    async def test_20_turns_are_20_turns(self, storage_factory: StorageFactory) -> None:
        """Decision 26: nobody takes a turn that another one has; each waits at least one pace longer."""
        storages = await pair(storage_factory, 20)
        await posted(storages[0], 20)
        claimed = await storages[0].claim(20, LONG)
        pace = timedelta(seconds=20)
        rules = Rules(pace=pace, patience=LONG)
        answers = await gather(
            partial(one.begin_attempt, message, {}, rules)
            for one, message in zip(storages, claimed, strict=True)
        )
        waits = sorted(answer.wait for answer in answers if isinstance(answer, Begun))
        assert len(waits) == 20
        assert waits[0] == timedelta(0)
        steps = [(late - soon).total_seconds() for soon, late in pairwise(waits)]
        assert all(
            10 < step < 30 for step in steps
        )  # a pace, but for the time between two looks at the clock

    async def test_one_step_acts_once_upon_a_subject(self, storage_factory: StorageFactory) -> None:
        """Decision 25: of firings that are recorded at once, one acts; the others are repetitions."""
        storages = await pair(storage_factory, 12)
        await storages[0].emit("ada", tuple(fired(f"f{n}") for n in range(12)), {})
        _, claimed = await storages[0].claim_firings(20, LONG)
        rule = Repeat(cooldown=WEEK)
        recorded = await gather(
            partial(one.record, firing, (entry("ada", firing.key),), repeat=rule, closing=ACTED)
            for one, firing in zip(storages, claimed, strict=True)
        )
        assert all(one.held for one in recorded)
        assert sum(one.acted for one in recorded) == 1
        assert len(await storages[1].messages()) == 1
        outcomes = [row.outcome for row in await storages[0].decisions()]
        assert (outcomes.count(Outcome.ACTED), outcomes.count(Outcome.REPEATED)) == (1, 11)

    async def test_one_claim_records_once(self, storage_factory: StorageFactory) -> None:
        """L9: the same worker's two tasks cannot both close a firing."""
        storages = await pair(storage_factory, 10)
        await storages[0].emit("ada", (fired(),), {})
        _, (firing,) = await storages[0].claim_firings(1, LONG)
        recorded = await gather(partial(one.record, firing, (entry(),), closing=ACTED) for one in storages)
        assert sorted(one.held for one in recorded) == [False] * 9 + [True]
        assert len(await storages[1].decisions()) == 1

    async def test_crossed_batches_do_not_block(self, storage_factory: StorageFactory) -> None:
        """L10: two ticks over the same subjects, in opposite orders, neither deadlock nor act twice."""
        storages = await pair(storage_factory, 6)
        now, _ = await storages[0].claim_firings(1, LEASE)
        for n in range(6):
            tick = fired(f"t{n}", subject="", step="digest.0")
            assert await storages[0].open_tick("digest.0", now + n * DAY, tick)
        _, claimed = await storages[0].claim_firings(10, LONG)
        names = [f"s{n}" for n in range(50)]

        async def scan(storage: Storage, n: int) -> Recorded:
            firing, order = claimed[n], names if n % 2 else names[::-1]
            entries = tuple(
                Entry(
                    name,
                    Outcome.ACTED,
                    (mail(f"m:{name}", subject=name),),
                    (fired(f"n:{name}", subject=name, after=DAY),),
                    Journey(f"j:{name}", "digest", name),
                )
                for name in order
            )
            return await storage.record(firing, entries, repeat=Repeat(cooldown=WEEK), closing=SCANNED)

        recorded = await gather(partial(scan, one, n) for n, one in enumerate(storages))
        assert sum(one.acted for one in recorded) == 50
        assert dict(await storages[1].outbox_counts()) == {MessageState.PENDING: 50}

    async def test_20_open_a_tick(self, storage_factory: StorageFactory) -> None:
        """L9: one is told that it did, one firing is recorded; also at the very first tick of a step."""
        storages = await pair(storage_factory, 20)
        now, _ = await storages[0].claim_firings(1, LEASE)
        for day in range(3):
            tick = now + day * DAY
            opened = await gather(
                partial(one.open_tick, "digest.0", tick, fired(f"t{day}:{n}", subject="", step="digest.0"))
                for n, one in enumerate(storages)
            )
            assert opened.count(True) == 1
            assert await storages[day % 2].last_tick("digest.0") == tick
        assert await storages[0].pending_firings() == 3

    async def test_20_suppress_once(self, storage_factory: StorageFactory) -> None:
        """Decision 27: a button that is pressed 20 times at once is one wish."""
        storages = await pair(storage_factory, 20)
        known = await gather(
            partial(one.suppress, Suppressed.UNSUBSCRIBED, subject="ada", source="link") for one in storages
        )
        assert known.count(True) == 1
        assert dict(await storages[0].suppression_counts()) == {Suppressed.UNSUBSCRIBED: 1}

    async def test_ten_retries_are_one_message(self, storage_factory: StorageFactory) -> None:
        """L4: ten people press retry on one dead letter: it is in one worker's hands, and sent once."""
        storages = await pair(storage_factory, 10)
        await posted(storages[0], 1)
        (message,) = await storages[0].claim(1, LONG)
        await storages[0].settle(message, Ending(MessageState.DEAD))
        assert all(await gather(partial(one.retry_message, message.id) for one in storages))
        claims = await gather(partial(one.claim, 10, LONG) for one in storages)
        (again,) = [message for claimed in claims for message in claimed]
        assert await storages[1].begin_attempt(again, {}) == Begun()
        assert not any(await gather(partial(one.retry_message, message.id) for one in storages))
        assert await storages[0].settle(again, SENT)
        assert dict(await storages[1].outbox_counts()) == {MessageState.SENT: 1}
