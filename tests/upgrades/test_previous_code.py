"""The release before the newest schema, as the repository's history has it, through a deploy and a roll-back.

Old and new processes serve the same customers side by side: before the migration, during it, and after it.
"""

import io
import subprocess
import tarfile
from collections import Counter

import anyio
import asyncpg
import httpx
import pytest

from skene.adapters.sql import migrate
from tests.support.processes import ROOT
from tests.upgrades.rolling import LIMIT, call, mailed, plan, served, upgrade

HERE = "tests/upgrades/rolling_app.py"
VERSIONS = "skene/adapters/sql/migrate.py"
CALLS = 120
"""Of one customer, to each of the two releases."""


def git(*words):
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def known_at(commit):
    """The versions of the schema that a commit's code knows."""
    for line in git("show", f"{commit}:{VERSIONS}").decode().splitlines():
        if line.startswith("KNOWN"):
            return tuple(part for part in line.split('"') if part.isdigit())
    return ()


@pytest.fixture(scope="module")
def previous(tmp_path_factory):
    """The newest code that was made for the version of the schema before the newest."""
    commits = git("log", "--format=%H", "--", VERSIONS).decode().split()
    found = next((one for one in commits if known_at(one) == migrate.KNOWN[:-1]), None)
    if found is None:
        pytest.skip("the history of the repository is not here, or not all of it")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(git("archive", found, "skene", "tests/__init__.py"))) as archive:
        archive.extractall(folder, filter="data")
    app = folder / HERE
    app.parent.mkdir(parents=True)
    (app.parent / "__init__.py").touch()
    app.write_text((ROOT / HERE).read_text())
    return folder


async def rush(subject, *addresses):
    """Many calls of one customer at once to all of them; every sixth handler fails, which is free."""
    statuses = Counter()

    async def some(client, address, number):
        for at in range(number, CALLS, 12):
            fail = 500 if at % 6 == 0 else 0
            url = f"{address}/api/features/work?fail={fail}"
            statuses[(await client.post(url, headers={"x-user": subject})).status_code] += 1

    async with httpx.AsyncClient(timeout=60) as client, anyio.create_task_group() as tasks:
        for address in addresses:
            for number in range(12):
                tasks.start_soon(some, client, address, number)
    return statuses


async def admits_exactly_the_limit(subject, *addresses):
    """However a call was refused while another's unit was yet to be given back, in the end it is 100."""
    statuses = await rush(subject, *addresses)
    assert {200, 500} <= set(statuses) <= {200, 500, 402}, statuses
    served = statuses[200]
    while (await call(addresses[served % len(addresses)], subject)).status_code == 200:
        served += 1
    assert served == LIMIT


async def test_a_deploy_and_a_roll_back(previous, environment, postgres_dsn, stripe, resend):
    """F38, F39: nothing that a customer notices, and one mail for each who was refused."""
    assert migrate.KNOWN[-2] in upgrade(previous, postgres_dsn)
    with served(previous, environment) as old:
        assert (await call(old, "ada")).status_code == 200
        assert migrate.HEAD in upgrade(ROOT, postgres_dsn)
        with served(ROOT, environment) as new:
            await admits_exactly_the_limit("bob", old, new)
            await mailed(resend, 1)
            # A webhook that reaches one of the two is known to the other.
            for number, (told, asked) in enumerate([(old, new), (new, old)]):
                stripe.connect(f"{told}/skene/webhooks/stripe")
                await stripe.subscribe(f"payer{number}", "price_pro")
                assert await plan(asked, f"payer{number}") == "pro"
        await admits_exactly_the_limit("cy", old)
    with served(previous, environment) as again:  # rolled back: it starts on the newer tables, and goes on
        assert await plan(again, "payer1") == "pro"
        assert (await call(again, "bob")).status_code == 402
        await admits_exactly_the_limit("dan", again)
        await mailed(resend, 3)
    connection = await asyncpg.connect(postgres_dsn)
    waiting = await connection.fetchval("SELECT count(*) FROM skene_outbox WHERE state <> 'sent'")
    ada = await connection.fetchval("SELECT sum(used) FROM skene_usage WHERE subject = 'ada'")
    await connection.close()
    assert (waiting, ada) == (0, 1)
    assert Counter(to for mail in resend.emails for to in mail.to) == {
        f"{who}@app.test": 1 for who in ("bob", "cy", "dan")
    }


async def test_what_a_migration_takes_away_is_noticed(previous, environment, postgres_dsn):
    """The control: the same with a version that renames a column, as no version may."""
    upgrade(previous, postgres_dsn)
    with served(previous, environment) as old:
        assert (await call(old, "ada")).status_code == 200
        upgrade(ROOT, postgres_dsn)
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute("ALTER TABLE skene_usage RENAME used TO units_used")
        await connection.close()
        assert (await call(old, "ada")).status_code >= 500
