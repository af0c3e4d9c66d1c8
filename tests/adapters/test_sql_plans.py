"""What the SQL storages ask of their databases: few statements, by indexes, none that takes long."""

from typing import Any

import pytest
import sqlalchemy as sa

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql import pruning
from skene.adapters.sql.tables import firings
from skene.ports.firings import Entry, Outcome
from skene.testing.clock import ManualClock
from skene.testing.conformance.happening import DAY, EPISODE, LEASE, SCANNED, fired, mail, post
from tests.support.sql_stores import STEP, Opener, Sql, Statements, counts, tick, whole

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage(another: Opener) -> Sql:
    return await another()


async def test_a_thousand_entries_are_a_handful_of_statements(
    storage: Sql, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick over a million rows must not send a million statements."""
    firing = await tick(storage, clock)
    with monkeypatch.context() as patch:
        statements = Statements(patch)
        entries = tuple(whole(f"s{n}", "t") for n in range(1_000))
        recorded = await storage.record(firing, entries, repeat=EPISODE, closing=SCANNED)
    assert recorded.acted == 1_000
    assert 5 < len(statements.sent) <= 14, [statement[:60] for statement, _ in statements.sent]


MANY = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
ENDED = (
    f"""{MANY} INSERT INTO skene_firings (key, loop, step, subject, data, state, occurred_at, settled_at)
        SELECT 'k' || i, 'l', 's', 's' || i, '{{}}', 'done', :at, :at FROM n""",
    f"""{MANY} INSERT INTO skene_outbox (key, kind, loop, step, subject, plan, channel, template, data,
                                         cancel_on_upgrade, state, created_at, settled_at)
        SELECT 'k' || i, 'email', 'l', 's', 's' || i, 'free', 'c', 't', '{{}}', false, 'sent', :at, :at
          FROM n""",
)


async def test_claims_go_by_the_partial_indexes(
    storage: Sql, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 rows that have ended are not looked at, whatever there is to do."""
    at = sa.bindparam("at", clock.now(), type_=firings.c.occurred_at.type)

    def work(connection: sa.Connection, _: object, *statements: str) -> None:
        for statement in statements:
            text = sa.text(statement)
            connection.execute(text.bindparams(at) if ":at" in statement else text)

    def plan(connection: sa.Connection, _: object, statement: str, parameters: Any) -> str:
        explain = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        return "\n".join(map(str, connection.exec_driver_sql(f"{explain} {statement}", parameters)))

    await storage._write(work, *ENDED)
    await storage.emit("ada", tuple(fired(f"f{n}") for n in range(300)), {})
    await post(storage, clock, *(mail(f"m{n}") for n in range(300)))
    await storage._write(work, "ANALYZE")
    with monkeypatch.context() as patch:
        statements = Statements(patch)
        assert len((await storage.claim_firings(10, LEASE))[1]) == 10
        assert len(await storage.claim(10, LEASE)) == 10
    ours = [one for one in statements.sent if "skene_firings" in one[0] or "skene_outbox" in one[0]]
    plans = [await storage._write(plan, *one) for one in ours]
    assert len(plans) == 5
    assert sum("skene_firings_due" in one for one in plans) == 1, plans
    # SQLite, which knows no cost of a column's value, may take either for what is no marketing.
    by_first = isinstance(storage, PostgresStorage) or any("skene_outbox_first" in one for one in plans)
    assert sum("skene_outbox_due" in one for one in plans) == 2 - by_first, plans
    assert sum("skene_outbox_first" in one for one in plans) == by_first, plans
    for one in plans:
        assert "Seq Scan on skene" not in one, one
        assert "SCAN skene_firings'" not in one, one
        assert "SCAN skene_outbox'" not in one, one


async def test_pruning_goes_in_batches(
    storage: Sql, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction deletes more than a batch, and in the end everything old is gone."""
    for n in range(4):
        firing = await tick(storage, clock)
        entries = tuple(Entry(f"s{n}:{m}", Outcome.ACTED) for m in range(5))
        await storage.record(firing, entries, repeat=EPISODE, closing=SCANNED)
    before = await counts(storage)
    assert before["decisions"] == 24
    sizes: list[int] = []
    write: Any = type(storage)._write

    async def watched(self: Sql, work: Any, *args: Any) -> Any:
        result = await write(self, work, *args)
        if work in pruning.ALL:
            sizes.append(result)
        return result

    monkeypatch.setattr(type(storage), "_write", watched)
    monkeypatch.setattr(pruning, "BATCH", 3)
    monkeypatch.setattr(pruning, "LOG_HOLDS", 20)
    assert await storage.prune() == 4  # the log alone is too long
    assert (await counts(storage))["decisions"] == 20
    assert len(await storage.decisions(since=clock.now())) == 6, "the latest are those that stay"
    clock.advance(90 * DAY)
    assert await storage.prune() == 20 + 4
    clock.advance(400 * DAY)
    assert await storage.prune() == 3  # ticks, but not the latest
    assert await storage.prune() == 0
    assert max(sizes) == 3
    after = await counts(storage)
    assert after == {**before, "decisions": 0, "firings": 0}
    assert await storage.last_tick(STEP) is not None
