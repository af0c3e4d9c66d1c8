"""Thousands of sign-ups, a third of them rolled back, and workers that are killed all the time."""

import json
import resource
import sys
import time
from collections import Counter
from functools import partial

import anyio
import asyncpg
import pytest

from tests.definitions.seeds import ACTIVATION, seed_with
from tests.support.extent import amount
from tests.support.sign_ups import TABLES, SignUps, faults_of
from tests.support.workers import Workers, report, run_skene, skene_command

ROWS = amount(2_000, full=10_000)
CONTROL_ROWS = amount(500, full=2_000)
WORKERS = 3
KILLS = amount(5, full=12)
DEADLINE = 600.0
TIMEOUT = "10s"
"""In place of the five minutes of the seed, so that those who are late need not be waited for so long."""
OPEN = "SELECT count(*) FROM skene_firings WHERE due_at IS NOT NULL"
UNSENT = "SELECT count(*) FROM skene_outbox WHERE due_at IS NOT NULL"


@pytest.fixture
async def driver(durable_server):
    driver = await asyncpg.connect(durable_server.create_database("activation"))
    await driver.execute(TABLES)
    yield driver
    await driver.close()
    durable_server.drop_database("activation")


async def nothing_left(driver, query):
    while left := await driver.fetchval(query):
        await anyio.sleep(0.1)
    return left


def cpu_of_children():
    """Seconds that processes have used which this one started, and which have ended."""
    times = resource.getrusage(resource.RUSAGE_CHILDREN)
    return times.ru_utime + times.ru_stime


async def test_each_who_acts_in_time_gets_one_mail(durable_server, driver, resend, environment, seed):
    loop = seed_with("steps[0].condition.timeout", TIMEOUT, ACTIVATION)
    env = environment(durable_server.dsn("activation"), json.dumps(loop))
    run_skene(env, "db", "upgrade")
    run_skene(env, "db", "triggers", "--install")
    people = SignUps(ROWS, seed)
    begun, used = time.monotonic(), cpu_of_children()
    marks = {}

    with anyio.fail_after(DEADLINE), Workers(skene_command("worker"), [env] * WORKERS) as workers:
        await workers.all_at_work()
        kills = partial(workers.kill_at_random, seed, KILLS, among=range(WORKERS), within=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kills)
            await people.run(driver)
            marks["inserted"] = time.monotonic() - begun
        marks["killed"] = time.monotonic() - begun
        await nothing_left(driver, OPEN)
        marks["decided"] = time.monotonic() - begun
        await people.act_late(driver)
        await nothing_left(driver, UNSENT)
        marks["sent"] = time.monotonic() - begun
        await nothing_left(driver, OPEN)

    mails = Counter(address for mail in resend.emails for address in mail.to)
    rows = dict(await driver.fetch("SELECT state, count(*) FROM skene_outbox GROUP BY state"))
    states = dict(await driver.fetch("SELECT state, count(*) FROM skene_firings GROUP BY state"))
    looks = await driver.fetchval("SELECT sum(claim) FROM skene_firings")
    numbers = {
        "seed": seed,
        "rows": ROWS,
        "committed": people.committed,
        "rolled back": len(people.undone),
        "in time": len(people.in_time),
        "late": len(people.late),
        "never": len(people.never),
        "kills": workers.kills,
        "mails": len(resend.emails),
        "requests": len(resend.calls),
        "outbox": rows,
        "firings": states,
        "looks": looks,
        "cpu of the workers": round(cpu_of_children() - used, 1),
        **{k: round(v, 1) for k, v in marks.items()},
    }
    measured = report(numbers)
    assert faults_of(people.in_time, mails) == [], measured
    assert rows == {"sent": len(people.in_time)}, measured
    assert states == {"done": people.committed}, measured
    assert workers.kills >= KILLS - 2


async def test_the_naive_sender_fails_the_same_check(durable_server, driver, resend, mail, seed):
    """The control: it polls for users without a mail, sends, and then marks them."""
    people = SignUps(CONTROL_ROWS, seed)
    resend.delay = 0.02
    env = {"WORK_DATABASE": durable_server.dsn("activation"), "WORK_RESEND": mail}
    command = [sys.executable, "-m", "tests.support.naive_sender"]
    with anyio.fail_after(DEADLINE), Workers(command, [env] * WORKERS) as workers:
        await workers.all_at_work()
        kills = partial(workers.kill_at_random, seed, KILLS, among=range(WORKERS), within=1)
        await people.run(driver)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kills)
            while len({address for mail in resend.emails for address in mail.to}) < len(people.in_time):
                await anyio.sleep(0.05)
        await people.act_late(driver)
        waiting = (
            "SELECT count(*) FROM users JOIN user_actions AS a ON a.user_id = users.id"
            " WHERE NOT mailed AND a.action_type = 'first_project_created'"
        )
        await nothing_left(driver, waiting)
    mails = Counter(address for mail in resend.emails for address in mail.to)
    faults = faults_of(people.in_time, mails)
    assert any("more than once" in fault for fault in faults), (seed, faults)
    assert any("to nobody's wish" in fault for fault in faults), (seed, faults)
