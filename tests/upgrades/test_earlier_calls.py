"""What processes of every earlier release say to the database means the same on the newest schema.

They count on the same counters as the newest release does beside them, exactly.
"""

from collections import Counter

import anyio
import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql import migrate
from skene.testing.conformance.base import call, charge
from tests.support.sql_stores import PATIENT
from tests.upgrades.earlier import CLIENTS, Client

LIMIT = 100
CALLS = 150
"""Of each of the two."""

each = pytest.mark.parametrize("client", CLIENTS, ids=[one.versions[-1] for one in CLIENTS])


@pytest.fixture
async def storage(postgres_dsn):
    storage = PostgresStorage(postgres_dsn, migrate=True, timeout=PATIENT)
    await storage.start()
    yield storage
    await storage.aclose()


@pytest.fixture
async def pool(postgres_dsn, storage):
    async with asyncpg.create_pool(postgres_dsn, min_size=4, max_size=4) as pool:
        yield pool


def test_every_earlier_version_is_here():
    """A new version of the schema brings a line here: what the release before it says."""
    known = [version for client in CLIENTS for version in client.versions]
    assert known == list(migrate.KNOWN[:-1])


async def used(pool, subject):
    return await pool.fetchval("SELECT sum(used) FROM skene_usage WHERE subject = $1", subject)


async def admitted(client, storage, pool):
    """How many of the two's calls on one counter, all at once, are let through."""
    outcomes = Counter()

    async def old(number):
        async with pool.acquire() as connection:
            if number % 3:
                outcome, _ = await client.charge(connection, "ada", LIMIT)
            else:
                outcome, _ = await client.charge_many(connection, ["ada", f"other{number}"], LIMIT)
        outcomes[outcome] += 1

    async def new():
        counted = await storage.consume(call(charge(LIMIT)))
        outcomes["admitted" if counted.admitted else "refused"] += 1

    async with anyio.create_task_group() as tasks:
        for number in range(CALLS):
            tasks.start_soon(old, number)
            tasks.start_soon(new)
    assert sum(outcomes.values()) == 2 * CALLS
    return outcomes["admitted"]


@each
async def test_old_and_new_count_on_one_counter(client, storage, pool):
    """Law 1: at the same time, and never one too many or too few."""
    assert await admitted(client, storage, pool) == LIMIT
    assert await used(pool, "ada") == LIMIT
    assert not (await storage.consume(call(charge(LIMIT)))).admitted
    assert (await client.charge(pool, "ada", LIMIT))[0] == "refused"


class Careless(Client):
    """Looks first, and counts without a limit of the database's afterwards."""

    async def charge(self, connection, subject, limit, key=None):
        looked = "SELECT sum(used) FROM skene_usage WHERE subject = $1"
        if (await connection.fetchval(looked, subject) or 0) >= limit:
            return "refused", None
        return await super().charge(connection, subject, 10**9)

    async def charge_many(self, connection, subjects, limit):
        return [(await self.charge(connection, subject, limit))[0] for subject in subjects]


async def test_a_client_that_looks_first_is_noticed(storage, pool):
    """The control."""
    newest = CLIENTS[-1]
    careless = Careless(newest.versions, newest.consume, newest.many, newest.refund)
    for _ in range(10):  # luck is on its side now and then
        if await admitted(careless, storage, pool) > LIMIT:
            return
        await storage.forget("ada")
    pytest.fail("nobody saw that it lets too many through")


@each
async def test_each_gives_back_what_the_other_took(client, storage, pool):
    outcome, at = await client.charge(pool, "ada", LIMIT)
    counted = await storage.consume(call(charge(LIMIT)))
    assert (outcome, counted.tallies[0].used) == ("admitted", 2)
    receipt = counted.tallies[0].receipt
    await client.give_back(pool, "ada", receipt.at)
    assert await used(pool, "ada") == 1
    await storage.refund("ada", (type(receipt)("calls", "free", at, 1),))
    assert await used(pool, "ada") == 0


@each
async def test_a_repetition_is_known_to_both(client, storage, pool):
    """Decision 9: whichever of the two the client's second try reaches."""
    assert (await client.charge(pool, "ada", LIMIT, "k1"))[0] == "admitted"
    assert (await storage.consume(call(charge(LIMIT), key="k1"))).replayed
    assert (await storage.consume(call(charge(LIMIT), key="k2"))).admitted
    assert (await client.charge(pool, "ada", LIMIT, "k2"))[0] == "replayed"
    assert await used(pool, "ada") == 2


@each
async def test_a_schema_that_takes_something_away_is_noticed(client, storage, pool):
    """The control: what a migration that is no mere addition does to the processes that still run."""
    name = client.consume.partition("FROM ")[2].partition("(")[0]
    (signature,) = await pool.fetchrow("SELECT $1::regproc::regprocedure::text", name)
    await pool.execute(f"ALTER FUNCTION {signature} RENAME TO skene_consume_renamed")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        await client.charge(pool, "ada", LIMIT)
