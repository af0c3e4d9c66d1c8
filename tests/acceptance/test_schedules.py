"""Ten ticks of a schedule, and four schedulers of which none can be relied upon."""

import json
import signal
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import anyio
import asyncpg
import pytest

from skene import load_loop
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.testing.clock import ManualClock
from skene.testing.resend_server import FakeResend
from skene.wiring import Skene
from tests.definitions.seeds import RETENTION
from tests.support.loops_at_work import FileClock
from tests.support.workers import Workers, report, run_skene, skene_command

START = datetime(2026, 3, 2, 11, 59, 30, tzinfo=UTC)
MINUTE, STEP = timedelta(minutes=1), timedelta(seconds=10)
TICKS, LATE, STOPPED = 10, 1, 2
"""How many ticks; which of the four has a wrong clock; which one stands still for a tick."""
KILLED_AT, STOPPED_AT = (1, 3, 4, 6, 8), 5
QUERY = "SELECT id, email, name FROM users WHERE dormant"
DONE = """
SELECT count(*) FROM skene_ticks AS t JOIN skene_firings AS f ON f.step = t.step AND f.tick = t.tick
 WHERE t.tick = $1 AND f.state = 'done'
"""


def every_minute(cron="* * * * *", timezone="UTC"):
    """The seed's loop with another schedule, for people who may be written to again and again."""
    loop = json.loads(RETENTION.read_text())
    (first,) = loop["steps"]
    first["trigger"] |= {"cron": cron, "timezone": timezone}
    first["condition"]["query"] = QUERY
    first["action"]["personalization"] = {"name": "{{user.name}}"}
    first["cooldown"] = "1s"
    return loop


@pytest.fixture
def clock(tmp_path):
    clock = FileClock(tmp_path / "clock")
    clock.set(START)
    return clock


@pytest.fixture
def resend(clock):
    return FakeResend(now=clock.now)


@pytest.fixture
async def driver(durable_server):
    driver = await asyncpg.connect(durable_server.create_database("schedules"))
    await driver.execute(
        "CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT, name TEXT, dormant BOOLEAN);"
        "INSERT INTO users VALUES ('ada', 'ada@app.test', 'Ada', true), ('bob', 'bob@app.test', 'Bob', false)"
    )
    yield driver
    await driver.close()
    durable_server.drop_database("schedules")


@pytest.fixture
def envs(durable_server, driver, environment, clock, tmp_path):
    """Four schedulers: one's own clock is two minutes late; the storage's is right."""
    about = (durable_server.dsn("schedules"), json.dumps(every_minute()))
    env = environment(*about, clock=tmp_path / "clock")
    run_skene(env, "db", "upgrade")
    return [{**env, "WORK_LATE": "120" if number == LATE else "0"} for number in range(4)]


async def ten_ticks(workers, clock, seed, acted):
    """Let time pass from tick to tick: five kills, and one that sleeps over a tick."""
    now = START
    for tick in range(TICKS):
        due = START.replace(second=0) + MINUTE * (tick + 1)
        if tick == STOPPED_AT:
            workers.signal(STOPPED, signal.SIGSTOP)
        async with anyio.create_task_group() as tasks:
            if tick in KILLED_AT:
                kill = partial(workers.kill_at_random, seed + tick, 1, among=(0, 1, 3), within=1)
                tasks.start_soon(kill)
            while now < due or not await acted(due):
                now = min(now + STEP, due + STEP * 5)
                clock.set(now)
                with anyio.move_on_after(0.2):
                    while not await acted(due):
                        await anyio.sleep(0.02)
        if tick == STOPPED_AT:
            workers.signal(STOPPED, signal.SIGCONT)
        now = due + MINUTE / 2
        clock.set(now)  # whoever held something has lost it by now, and may act a second time
    return now


def by_minute(resend):
    return Counter(mail.created_at.replace(second=0, microsecond=0) for mail in resend.emails)


def faults_of(resend):
    """What is wrong with the mails: one is wanted for each tick."""
    wanted = {START.replace(second=0) + MINUTE * (tick + 1) for tick in range(TICKS)}
    got = by_minute(resend)
    return {at.strftime("%H:%M"): got[at] for at in sorted(wanted | got.keys()) if (at in wanted) != got[at]}


async def test_each_tick_acts_once(driver, resend, clock, envs, seed):
    async def acted(due):
        return await driver.fetchval(DONE, due) and by_minute(resend)[due]

    with anyio.fail_after(180), Workers(skene_command("worker"), envs) as workers:
        await workers.all_at_work()
        while not await driver.fetchval("SELECT count(*) FROM skene_ticks"):  # where the schedule begins
            await anyio.sleep(0.05)
        await ten_ticks(workers, clock, seed, acted)
        run_skene(envs[LATE], "worker", "--once")  # one more look, by one who remembers nothing
    firings = await driver.fetchval("SELECT count(*) FROM skene_firings WHERE tick IS NOT NULL")
    rows = await driver.fetchval("SELECT count(*) FROM skene_outbox")
    numbers = {
        "seed": seed,
        "kills": workers.kills,
        "firings": firings,
        "messages": rows,
        "mails": len(resend.emails),
    }
    measured = report(numbers)
    assert faults_of(resend) == {}, measured
    assert (firings, rows, workers.kills) == (TICKS, TICKS, len(KILLED_AT)), measured


async def test_one_that_remembers_ticks_in_memory_acts_twice(resend, mail, clock, tmp_path, seed):
    async def acted(due):
        return by_minute(resend)[due]

    env = {"WORK_RESEND": mail, "WORK_CLOCK": str(tmp_path / "clock")}
    command = [sys.executable, "-m", "tests.support.naive_scheduler"]
    with anyio.fail_after(180), Workers(command, [env] * 4) as workers:
        await workers.all_at_work()
        await ten_ticks(workers, clock, seed, acted)
    assert max(faults_of(resend).values()) > 1, f"seed {seed}"


# -- the days on which clocks are moved ----------------------------------------------------------------------

DAYS = {
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
}


@pytest.mark.parametrize("cron", ["30 2 * * *", "30 1 * * *", "0 9 * * *"])
@pytest.mark.parametrize(("zone", "day"), [(zone, day) for zone, days in DAYS.items() for day in days])
async def test_each_local_day_has_its_tick_once(zone, day, cron):
    """A worker looks every ten minutes, from the day before to the day after."""
    here = ZoneInfo(zone)
    first = datetime.fromisoformat(day).replace(tzinfo=here) - timedelta(days=1)
    clock = ManualClock(first)
    storage, sent = MemoryStorage(clock=clock), MemoryNotifier()
    storage.queries.answer(QUERY, [{"id": "ada", "email": "ada@app.test", "name": "Ada"}])
    loop = load_loop(every_minute(cron, zone))
    at = []
    async with Skene(loop, storage=storage, clock=clock, notifiers={"resend": sent}) as skene:
        while clock.now().astimezone(here).date() <= first.date() + timedelta(days=2):
            await skene.worker.drain()
            at += [clock.now().astimezone(here)] * (len(sent.sent) - len(at))
            clock.advance("10m")
    days = [first.date() + timedelta(days=number) for number in range(3)]
    assert [one.date() for one in at] == days, at
    minute, hour = cron.split()[:2]
    plain = [one for one in at if one.date() != datetime.fromisoformat(day).date()]
    assert {(one.hour, one.minute) for one in plain} == {(int(hour), int(minute))}
