"""Conditions that mean harm, from the definition of a loop to its worker: refused or stopped."""

import json
import time

import anyio
import asyncpg
import pytest

from skene import (
    ConfigurationError,
    DefinitionError,
    Skene,
    action,
    condition,
    define_loop,
    load_loop,
    step,
    trigger,
)
from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.postgres import PostgresStorage
from tests.definitions.seeds import ACTIVATION, RETENTION, seed_with
from tests.support.workers import Workers, run_skene, skene_command

QUERY = "steps[0].condition.query"
ROWS = 100
WRITTEN = [
    "COMMIT; DELETE FROM users",
    "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
    "SELECT set_config('statement_timeout', '0', false) AS id FROM users",
    "SELECT pg_sleep(60), id FROM users",
]
"""As anybody would write them: seen when the loop is made."""
HIDDEN = """
CREATE TABLE users (id BIGINT PRIMARY KEY, email TEXT, name TEXT, activation_link TEXT, key TEXT);
INSERT INTO users SELECT n, 'user' || n || '@app.test', 'User', 'https://app.test', 'k'
  FROM generate_series(1, 100) AS n;
CREATE FUNCTION wipe() RETURNS bigint LANGUAGE sql AS 'DELETE FROM users RETURNING id';
CREATE FUNCTION nap() RETURNS text LANGUAGE sql AS 'SELECT pg_sleep(60)::text';
CREATE FUNCTION unlimited_nap() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('statement_timeout', '0', false), pg_sleep(60);
    RETURN 'slept';
END $$;
CREATE PROCEDURE leave() LANGUAGE plpgsql AS $$ BEGIN COMMIT; DELETE FROM users; END $$;
CREATE FUNCTION commits() RETURNS text LANGUAGE plpgsql AS $$ BEGIN CALL leave(); RETURN 'gone'; END $$;
CREATE FUNCTION writable() RETURNS text LANGUAGE sql AS
    $$ SELECT set_config('transaction_read_only', 'off', true) $$;
CREATE VIEW naps AS SELECT id, nap() AS slept FROM users;
"""
SNEAKED = [
    "SELECT commits(), id FROM users",
    "SELECT wipe() AS id",
    "SELECT writable(), wipe() AS id",
    "SELECT unlimited_nap(), id FROM users",
    "SELECT slept, id FROM naps",
]
"""The same in functions and views of the database: nothing tells what they do before they are run."""


@pytest.fixture
async def driver(postgres_dsn):
    driver = await asyncpg.connect(postgres_dsn)
    await driver.execute(HIDDEN)
    yield driver
    await driver.close()


async def intact(driver):
    assert await driver.fetchval("SELECT count(*) FROM users WHERE key = 'k'") == ROWS


@pytest.mark.parametrize("query", WRITTEN)
@pytest.mark.parametrize("seed", [ACTIVATION, RETENTION], ids=["activation", "retention"])
def test_it_is_refused_when_the_loop_is_made(seed, query):
    with pytest.raises(DefinitionError, match="query"):
        load_loop(seed_with(QUERY, query, seed))
    with pytest.raises(DefinitionError, match="query"):
        define_loop(
            type="activation",
            steps=[
                step(
                    trigger=trigger.database("users", event="insert"),
                    condition=condition.query(query),
                    action=action.email("activation_welcome", provider="resend"),
                )
            ],
        )


async def test_a_query_that_cannot_be_run_is_refused_at_the_start(postgres_dsn, driver):
    loop = load_loop(seed_with(QUERY, "SELECT * FROM users WHERE id = $1 AND no_such_column", ACTIVATION))
    storage = PostgresStorage(postgres_dsn, migrate=True)
    skene = Skene(loop, storage=storage, notifiers={"resend": MemoryNotifier()})
    with pytest.raises(ConfigurationError, match="no_such_column"):
        await skene.start()
    await skene.aclose()


async def test_it_is_stopped_in_the_worker(postgres_dsn, driver, environment, resend):
    """One row sets off a step for each of them."""
    loop = json.loads(ACTIVATION.read_text())
    (only,) = loop["steps"]
    conditions = [{"type": "query", "query": query} for query in SNEAKED]
    loop["steps"] = [{**only, "name": f"s{n}", "condition": one} for n, one in enumerate(conditions)]
    loop["recovery"] = {"retries": 0}
    env = environment(postgres_dsn, json.dumps(loop))
    run_skene(env, "db", "upgrade")
    run_skene(env, "db", "triggers", "--install")
    begun = time.monotonic()
    with anyio.fail_after(60), Workers(skene_command("worker"), [env]) as workers:
        await workers.all_at_work()
        await driver.execute(
            "INSERT INTO users VALUES (101, 'ada@app.test', 'Ada', 'https://app.test', 'new')"
        )
        while await driver.fetchval("SELECT count(*) FROM skene_firings WHERE due_at IS NOT NULL"):
            await anyio.sleep(0.1)
    seconds = time.monotonic() - begun
    rows = await driver.fetch("SELECT step, state, reason FROM skene_firings ORDER BY step")
    assert [row["state"] for row in rows] == ["dead"] * len(SNEAKED), rows
    assert all(row["reason"] for row in rows), rows
    assert seconds < 45, "two of them would sleep for a minute"
    assert not resend.emails
    await intact(driver)
    left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%skene_rows%' AND pid <> pg_backend_pid()"
    with anyio.fail_after(10):
        while await driver.fetchval(left):
            await anyio.sleep(0.1)
