"""The ticks of a schedule, and four schedulers of which none can be relied upon."""

import json
import sys
from datetime import datetime, timedelta
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
from tests.chaos.frame.ticking import DONE, LATE, PEOPLE, QUERY, START, Ticks, by_minute, every_minute
from tests.support.extent import FULL
from tests.support.loops_at_work import FileClock
from tests.support.workers import Workers, report, run_skene, skene_command

TICKS = Ticks(5, killed_at=(1, 3), stopped_at=2)
if FULL:
    TICKS = Ticks(10, killed_at=(1, 3, 4, 6, 8), stopped_at=5)


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
    await driver.execute(PEOPLE)
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


async def test_each_tick_acts_once(driver, resend, clock, envs, seed):
    async def acted(due):
        return await driver.fetchval(DONE, due) and by_minute(resend)[due]

    with anyio.fail_after(180), Workers(skene_command("worker"), envs) as workers:
        await workers.all_at_work()
        while not await driver.fetchval("SELECT count(*) FROM skene_ticks"):  # where the schedule begins
            await anyio.sleep(0.05)
        await TICKS.pass_by(workers, clock, seed, acted)
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
    assert TICKS.faults(resend) == {}, measured
    assert (firings, rows, workers.kills) == (TICKS.count, TICKS.count, len(TICKS.killed_at)), measured


async def test_one_that_remembers_ticks_in_memory_acts_twice(resend, mail, clock, tmp_path, seed):
    async def acted(due):
        return by_minute(resend)[due]

    env = {"WORK_RESEND": mail, "WORK_CLOCK": str(tmp_path / "clock")}
    command = [sys.executable, "-m", "tests.support.naive_scheduler"]
    with anyio.fail_after(180), Workers(command, [env] * 4) as workers:
        await workers.all_at_work()
        await TICKS.pass_by(workers, clock, seed, acted)
    assert max(TICKS.faults(resend).values()) > 1, f"seed {seed}"


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
