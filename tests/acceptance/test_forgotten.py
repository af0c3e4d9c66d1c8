"""Decision 31: of somebody who was forgotten nothing is left in the database, and what was proven stays."""

import re

import asyncpg
import pytest

from tests.acceptance.a_whole_life import USERS, Life, Person
from tests.cli.project import Project
from tests.support.markers import hits
from tests.support.processes import ROOT

NAME = re.compile("[^/]+(?=\\?)")


def rows_of(dump):
    """What a dump has of each table."""
    tables = {}
    for part in dump.split("COPY ")[1:]:
        head, _, rows = part.partition("FROM stdin;\n")
        tables[head.split(" ")[0].removeprefix("public.")] = rows.partition("\n\\.\n")[0]
    return tables


@pytest.fixture
async def life(postgres_server, postgres_dsn):
    driver = await asyncpg.connect(postgres_dsn)
    await driver.execute(USERS)
    await driver.close()
    life = Life(postgres_dsn)
    await life.storage.migrate()
    await life.storage.triggers.install(life.skene.program.reactions.row_triggers)
    async with life.client, life.skene.lifespan(life.app):
        yield life


@pytest.fixture
def dump(postgres_server, postgres_dsn):
    """What pg_dump writes of skene's tables."""
    name = NAME.search(postgres_dsn)[0]
    return lambda: rows_of(postgres_server.dump(name, "--data-only", "--exclude-schema=app"))


CONFIG = """
import os
from skene import Skene
from skene.adapters.postgres import PostgresStorage
from tests.acceptance.a_whole_life import LOOPS

skene = Skene(*LOOPS, storage=PostgresStorage(os.environ["THE_DATABASE"]))
"""
NAMELESS = {"skene_ticks", "skene_paces", "skene_webhook_events", "skene_forgotten", "skene_schema_version"}
"""Tables that are about nobody."""


@pytest.fixture(params=["code", "command"])
def forget(request, life, tmp_path):
    """Forgets by the app's own code; or by a command, while the app runs and knows nothing of it."""

    async def by_command(subject):
        (tmp_path / "skene_config.py").write_text(CONFIG)
        env = {"THE_DATABASE": life.dsn, "PYTHONPATH": str(ROOT)}
        ended = Project(tmp_path).program("forget", subject, "--yes", env=env)
        assert ended.code == 0, ended
        return int(re.search(r": (\d+) rows", ended.out)[1])

    return life.skene.forget if request.param == "code" else by_command


async def test_nothing_is_left_but_what_was_proven(life, dump, forget):
    bob, ada = Person("bob"), Person("ada")
    await life.live(bob)
    await life.live(ada)
    before, kept = await life.skene.funnel(), await life.skene.conversions()
    tables = dump()
    untouched = [name for name, rows in tables.items() if not hits(ada.names, {name: rows})]
    assert set(untouched) == NAMELESS, "a life that leaves nothing in a table proves nothing of it"
    bobs = hits(bob.names, tables)
    await life.leave(ada)
    assert await forget(ada.subject) > 30
    assert hits(ada.names, dump()) == []
    assert await life.skene.funnel() == before
    assert [one.amount for one in await life.skene.conversions()] == [one.amount for one in kept]
    assert hits(bob.names, dump()) == bobs

    # Whatever comes in late: of billing, of the worker, of the units that this process had leased.
    await life.stripe.subscribe(ada.subject, "price_pro", customer=ada.customer)
    await life.stripe.refund(ada.subject)
    assert life.stripe.undelivered == []
    await life.work()
    await life.skene.aclose()
    assert hits(ada.names, dump()) == []


async def test_a_careless_erasure_is_noticed(life, dump):
    """The control: what one would write by hand, table by table, of those that come to mind."""
    ada = Person("ada")
    await life.live(ada)
    driver = await asyncpg.connect(life.dsn)
    for table in ("usage", "customers", "outbox", "grants", "journeys", "firings", "decisions"):
        await driver.execute(f"DELETE FROM skene_{table} WHERE subject = $1", ada.subject)
    await driver.close()
    found = hits(ada.names, dump())
    assert {"visitor, in skene_customers", "id, in skene_walls", "customer, in skene_subscriptions"} <= set(
        found
    )


async def test_what_was_under_way_is_gone_after_the_second_time(life, dump):
    """As the docs say: a transaction that was open when somebody was forgotten leaves a firing behind."""
    ada = Person("ada")
    await life.live(ada)
    await life.leave(ada)
    driver = await asyncpg.connect(life.dsn)
    async with driver.transaction():
        await driver.execute(
            "INSERT INTO app.users VALUES ($1, $2, $3)", f"{ada.subject}", ada.email, ada.name
        )
        await life.skene.forget(ada.subject)
        await driver.execute("DELETE FROM app.users WHERE id = $1", ada.subject)
    await driver.close()
    assert "id, in skene_firings" in hits(ada.names, dump())
    await life.work()
    assert await life.skene.forget(ada.subject) > 0
    assert await life.skene.forget(ada.subject) == 0
    assert hits(ada.names, dump()) == []
