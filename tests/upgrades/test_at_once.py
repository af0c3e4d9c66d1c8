"""Several machines upgrade at once, as a role that may do nothing but in its own schema."""

import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql import migrate
from skene.testing.conformance.base import call as unit
from tests.support.processes import ROOT
from tests.support.sql_stores import PATIENT
from tests.upgrades.rolling import LIMIT, call, mailed, plan, served, upgrading

FUNCTIONS = """
SELECT count(*), count(DISTINCT proname) FROM pg_proc WHERE proname LIKE 'skene%'
"""


@pytest.fixture
async def owner(postgres_dsn):
    owner = await asyncpg.connect(postgres_dsn)
    yield owner
    await owner.close()


@pytest.fixture
async def tenant(postgres_dsn, owner):
    """The address for a role that owns one schema, and is let into the database: no more."""
    database = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"""
        CREATE ROLE lodger LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
        REVOKE ALL ON DATABASE "{database}" FROM public;
        GRANT CONNECT ON DATABASE "{database}" TO lodger;
        REVOKE ALL ON SCHEMA public FROM public;
        CREATE SCHEMA lodger AUTHORIZATION lodger
    """)
    yield postgres_dsn.replace("postgres@", "lodger@")
    await owner.execute("DROP OWNED BY lodger CASCADE; DROP ROLE lodger")


async def upgrade_at_once(dsn):
    """Four times `skene db upgrade`; returns how many of them applied something."""
    four = [upgrading(ROOT, dsn) for _ in range(4)]
    said = [process.communicate(timeout=120)[0] for process in four]
    assert [process.returncode for process in four] == [0] * 4, said
    return sum("applied" in words for words in said), sum("nothing to do" in words for words in said)


@pytest.mark.parametrize("known", [0, 1, 3, len(migrate.KNOWN) - 1])
async def test_four_upgrades_at_once(known, postgres_dsn, owner, monkeypatch):
    """F39: of nothing, and of tables of every age with somebody's units in them; nothing is made twice."""
    if known:
        with monkeypatch.context() as patch:
            patch.setattr(migrate, "KNOWN", migrate.KNOWN[:known])
            patch.setattr(migrate, "HEAD", migrate.KNOWN[-1])
            await PostgresStorage(postgres_dsn, timeout=PATIENT).migrate()
        await owner.execute("""
            INSERT INTO skene_usage (subject, meter, plan, window_start, window_end, used)
            VALUES ('ada', 'calls', 'free', now() - interval '1 day', now() + interval '29 days', 41)
        """)
    assert await upgrade_at_once(postgres_dsn) == (1, 3)
    rows = await owner.fetch("SELECT version_num FROM skene_schema_version")
    assert [row[0] for row in rows] == [migrate.HEAD]
    functions, names = await owner.fetchrow(FUNCTIONS)
    assert functions == names
    storage = PostgresStorage(postgres_dsn, timeout=PATIENT)
    assert (await storage.consume(unit())).tallies[0].used == (42 if known else 1)
    await storage.aclose()


async def test_a_role_that_owns_its_schema_alone_is_enough(tenant, owner, environment, stripe, resend):
    """F39: to upgrade, four at once, and then for everything that an app does."""
    assert await upgrade_at_once(tenant) == (1, 3)
    with served(ROOT, {**environment, "APP_DATABASE": tenant}) as app:
        for _ in range(LIMIT):
            assert (await call(app, "ada")).status_code == 200
        assert (await call(app, "ada")).status_code == 402
        await mailed(resend, 1)
        stripe.connect(f"{app}/skene/webhooks/stripe")
        await stripe.subscribe("ada", "price_pro")
        assert await plan(app, "ada") == "pro"
    storage = PostgresStorage(tenant, timeout=PATIENT)
    await storage.start()
    await storage.prune()
    assert await storage.forget("ada") > 0
    await storage.aclose()
    elsewhere = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'skene%' AND schemaname <> 'lodger'"
    assert await owner.fetchval(elsewhere) == 0


async def test_a_role_with_less_is_told_so(tenant, owner):
    """The control: of its schema it may only use what is there."""
    await owner.execute("ALTER SCHEMA lodger OWNER TO postgres; GRANT USAGE ON SCHEMA lodger TO lodger")
    process = upgrading(ROOT, tenant)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "permission denied" in said
    assert "Traceback" not in said
