"""Many messages due, workers that are killed, and a mail API that fails in every way it can."""

import json
import signal
import sys
import time
from collections import Counter
from functools import partial

import anyio
import asyncpg
import pytest

from tests.definitions.seeds import ACTIVATION, seed_with
from tests.support.extent import amount
from tests.support.sign_ups import TABLES, address_of, faults_of
from tests.support.workers import Workers, report, run_skene, skene_command

MESSAGES = amount(100, full=200)
WORKERS = 3
KILLS = amount(8, full=15)
PER_SECOND = 20
WINDOW = 5.0
JITTER = 1.0
"""Seconds that a request may be on its way: turns are given out exactly, arrivals are not exact."""
RETRIES = 10
"""The seed's three are not enough for so many messages when more than a quarter of all requests fails."""
UNSENT = "SELECT count(*) FROM skene_outbox WHERE due_at IS NOT NULL"
CLAIMED = """
SELECT (SELECT count(*) FROM skene_outbox WHERE state = 'claimed')
     + (SELECT count(*) FROM skene_firings WHERE state = 'claimed')
"""
LIMIT = 120.0


@pytest.fixture
async def driver(durable_server):
    driver = await asyncpg.connect(durable_server.create_database("delivery"))
    await driver.execute(TABLES)
    yield driver
    await driver.close()
    durable_server.drop_database("delivery")


@pytest.fixture
def working(durable_server, driver, environment):
    """The environment of workers whose loop has its triggers."""
    loop = seed_with("recovery.retries", RETRIES, ACTIVATION)
    env = environment(durable_server.dsn("delivery"), json.dumps(loop), per_second=PER_SECOND)
    run_skene(env, "db", "upgrade")
    run_skene(env, "db", "triggers", "--install")
    return env


async def sign_up(driver, count):
    async with driver.transaction():
        await driver.execute(
            "INSERT INTO users (id, email, name, activation_link)"
            " SELECT n, 'user' || n || '@app.test', 'User ' || n, 'https://app.test/start/' || n"
            " FROM generate_series(1, $1::bigint) AS n",
            count,
        )
        await driver.execute(
            "INSERT INTO user_actions (user_id, action_type)"
            " SELECT n, 'first_project_created' FROM generate_series(1, $1::bigint) AS n",
            count,
        )


def busiest(calls, window):
    """The most requests in any window of some seconds."""
    times = sorted(call.at.timestamp() for call in calls)
    first, most = 0, 0
    for last, at in enumerate(times):
        while times[first] < at - window:
            first += 1
        most = max(most, last - first + 1)
    return most


async def test_all_are_delivered_and_none_twice(driver, resend, working, seed):
    await sign_up(driver, MESSAGES)
    resend.fail(rate_429=0.1, rate_500=0.1, drop_after_accept=0.1, retry_after="1", seed=seed)
    begun = time.monotonic()
    with anyio.fail_after(LIMIT), Workers(skene_command("worker"), [working] * WORKERS) as workers:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(workers.kill_at_random, seed, KILLS, among=range(WORKERS), within=0.5))
            while len(resend.accepted) < MESSAGES or await driver.fetchval(UNSENT):
                await anyio.sleep(0.1)
        seconds = time.monotonic() - begun
    rows = dict(await driver.fetch("SELECT state, count(*) FROM skene_outbox GROUP BY state"))
    answers = Counter(call.status for call in resend.calls)
    numbers = {
        "seed": seed,
        "seconds": round(seconds, 1),
        "kills": workers.kills,
        "accepted": len(resend.emails),
        "outbox": rows,
        "answers": dict(answers),
        "most in a second": busiest(resend.calls, 1.0),
        f"most in {WINDOW:g} s": busiest(resend.calls, WINDOW),
    }
    measured = report(numbers)
    mails = Counter(address for mail in resend.emails for address in mail.to)
    assert faults_of(list(range(1, MESSAGES + 1)), mails) == [], measured
    assert rows == {"sent": MESSAGES}, measured
    assert set(resend.accepted.values()) == {1}, measured
    assert workers.kills >= KILLS, measured
    assert answers[429] > MESSAGES // 40, measured
    assert answers[500] > MESSAGES // 40, measured
    assert busiest(resend.calls, WINDOW) <= PER_SECOND * (WINDOW + JITTER), measured


async def test_the_naive_sender_doubles(driver, resend, mail, durable_server, seed):
    """The control: it polls for users without a mail, sends, and then marks them."""
    await sign_up(driver, MESSAGES)
    resend.fail(rate_429=0.1, rate_500=0.1, drop_after_accept=0.1, seed=seed)
    resend.delay = 0.02
    env = {"WORK_DATABASE": durable_server.dsn("delivery"), "WORK_RESEND": mail}
    command = [sys.executable, "-m", "tests.support.naive_sender"]
    with anyio.fail_after(LIMIT), Workers(command, [env] * WORKERS) as workers:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(workers.kill_at_random, seed, KILLS, among=range(WORKERS), within=0.5))
            while await driver.fetchval("SELECT count(*) FROM users WHERE NOT mailed"):
                await anyio.sleep(0.1)
    mails = Counter(address for mail in resend.emails for address in mail.to)
    assert mails.keys() == {address_of(user) for user in range(1, MESSAGES + 1)}
    faults = faults_of(list(range(1, MESSAGES + 1)), mails)
    assert faults, f"nobody got it twice, seed {seed}"
    assert "more than once" in faults[0]


@pytest.mark.parametrize("delay", [0.3, 30.0], ids=["busy", "hanging"])
async def test_sigterm_ends_a_busy_worker_and_nothing_waits_for_a_lease(driver, resend, working, delay):
    await sign_up(driver, 100)
    resend.delay = delay
    with Workers(skene_command("worker"), [working]) as workers:
        with anyio.fail_after(30):
            while not resend.in_flight:
                await anyio.sleep(0.02)
        begun = time.monotonic()
        workers.signal(0, signal.SIGTERM)
        code = await workers.ended(0, within=10)
        seconds = time.monotonic() - begun
        assert code == 0
    assert seconds <= 10
    assert await driver.fetchval(CLAIMED) == 0
    assert await driver.fetchval(UNSENT) > 0, "the worker was not busy"


async def test_poison_stops_nobody_else(driver, resend, working):
    """One address that cannot be, and one user without what the template needs."""
    await driver.execute("ALTER TABLE users ALTER activation_link DROP NOT NULL")
    await driver.execute(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.id = 77 THEN NEW.email := 'nowhere'; END IF;"
        " IF NEW.id = 78 THEN NEW.activation_link := NULL; END IF; RETURN NEW; END $$"
    )
    await driver.execute("CREATE TRIGGER spoil BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION spoil()")
    await sign_up(driver, MESSAGES)
    with anyio.fail_after(60), Workers(skene_command("worker"), [working]) as workers:
        while len(resend.emails) < MESSAGES - 2 or await driver.fetchval(UNSENT):
            await anyio.sleep(0.1)
        assert workers.is_at_work(0)
    mails = Counter(address for mail in resend.emails for address in mail.to)
    good = [user for user in range(1, MESSAGES + 1) if user not in (77, 78)]
    assert faults_of(good, mails) == []
    ended = await driver.fetch(
        "SELECT subject, state, reason FROM skene_outbox WHERE state <> 'sent' ORDER BY subject"
    )
    assert [(row["subject"], row["state"]) for row in ended] == [("77", "dead"), ("78", "dead")]
    shown = run_skene(working, "outbox", "list", "--state", "dead")
    for row in ended:
        assert row["reason"], ended
        assert row["subject"] in shown
    assert "nowhere" not in shown
