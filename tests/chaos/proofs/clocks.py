"""Windows, mails and ticks keep to one clock, however wrong the others are; none of them happens twice."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import anyio
import asyncpg

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from tests.chaos.frame.fleet import Fleet, fleet, fresh_database
from tests.chaos.frame.ticking import DONE, LATE, PEOPLE, START, Ticks, by_minute, every_minute
from tests.chaos.proof import Finding, Proof, Trial, exactly
from tests.support.loops_at_work import FileClock
from tests.support.workers import Workers, skene_command

__all__ = ["PROOFS"]

BY_HAND = "CREATE TABLE by_hand (subject TEXT PRIMARY KEY, start TIMESTAMPTZ, ends TIMESTAMPTZ, used BIGINT)"
OFF = (0, 600, -600, 300)
WINDOW = 600
"""Seconds; less than what two of the clocks are apart."""


async def _prepared(dsn: str, sql: str) -> None:
    driver = await asyncpg.connect(dsn)
    await driver.execute(sql)
    await driver.close()


async def _all_mailed(dsn: str) -> None:
    """Wait until nothing is due any more."""
    driver = await asyncpg.connect(dsn)
    while await driver.fetchval("SELECT count(*) FROM skene_outbox WHERE due_at IS NOT NULL"):
        await anyio.sleep(0.05)
    await driver.close()


# -- clocks that differ ------------------------------------------------------------------------------------


def _wrong(seconds: int, really: bool) -> Mapping[str, str]:
    """The environment of a process whose clock is off: for all it does, or where the app asks for time."""
    found = shutil.which("faketime") if really else None
    if found is None:
        return {"APP_OFF": str(seconds)}
    library = subprocess.run([found, "-f", "+0s", "printenv", "LD_PRELOAD"], check=True, capture_output=True)
    return {
        "LD_PRELOAD": library.stdout.decode().strip(),
        "FAKETIME": f"{seconds:+}s",
        "DONT_FAKE_MONOTONIC": "1",
    }


async def differ(trial: Trial, careless: bool) -> Sequence[Finding]:
    """Processes that disagree by 20 minutes count together, in windows of ten."""
    limit, calls = trial.take(5, 100), trial.take(20, 200)
    people = [f"person-{number}" for number in range(trial.take(2, 20))]
    admitted, resend = Counter[str](), FakeResend(now=SystemClock().now)
    async with fresh_database() as dsn:
        await _prepared(dsn, BY_HAND)
        with serving(resend.app) as mail:
            env = {"APP_DATABASE": dsn, "APP_RESEND": mail}
            env |= {"APP_LIMIT": str(limit), "APP_SECONDS": str(WINDOW)}
            env |= {"APP_CARELESS": "clocks"} if careless else {}
            async with fleet([env | dict(_wrong(seconds, trial.long)) for seconds in OFF]) as app:
                await _storm(app, people * calls, admitted)
                await _all_mailed(dsn)
    mails = Counter(mail.to for mail in resend.emails)
    return [
        exactly(f"people admitted {limit} times", sum(admitted[one] == limit for one in people), len(people)),
        exactly("admitted in all", admitted.total(), limit * len(people)),
        exactly("mails", mails.total(), len(people)),
        exactly("people with a mail", len(mails), len(people)),
    ]


async def _storm(app: Fleet, people: Sequence[str], admitted: Counter[str]) -> None:
    left = iter(people)

    async def one_after_another() -> None:
        for one in left:
            answer = await app.insist(one)
            admitted[one] += answer.status_code == 200

    async with anyio.create_task_group() as tasks:
        for _ in range(16):
            tasks.start_soon(one_after_another)


# -- a clock that steps back -------------------------------------------------------------------------------

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
STEPS = (
    ("in the first window", 0, True),
    ("in the second window", 31, True),
    ("an hour back, in neither of them", -29, False),
    ("in the first window again", 5, False),
    ("in the second window again", 32, False),
    ("in the third window", 61, True),
)
"""Where the clock stands, in minutes after noon, and whether there is anything left to use."""


async def steps_back(trial: Trial, careless: bool) -> Sequence[Finding]:
    """The clock that decides goes back an hour, and forth again: windows of half an hour are not reopened."""
    limit = trial.take(3, 100)
    people = [f"person-{number}" for number in range(trial.take(2, 20))]
    clock, resend = FileClock(trial.folder / "clock"), FakeResend(now=SystemClock().now)
    clock.set(NOON)
    findings: list[Finding] = []
    async with fresh_database() as dsn:
        await _prepared(dsn, BY_HAND)
        with serving(resend.app) as mail:
            env = {"APP_DATABASE": dsn, "APP_RESEND": mail, "APP_CLOCK": str(trial.folder / "clock")}
            env |= {"APP_LIMIT": str(limit), "APP_SECONDS": "1800"}
            env |= {"APP_CARELESS": "clocks"} if careless else {}
            async with fleet([env] * trial.take(2, 4)) as app:
                for name, minutes, opens in STEPS:
                    admitted = Counter[str]()
                    clock.set(NOON + timedelta(minutes=minutes))
                    await _storm(app, people * (limit + 3), admitted)
                    asked = limit * len(people) if opens else 0
                    findings.append(exactly(f"admitted {name}", admitted.total(), asked))
                    if opens:
                        await _all_mailed(dsn)  # before the clock goes back, or it would be due in an hour
    # People are asked once in each of the three windows.
    return [*findings, exactly("mails", len(resend.emails), 3 * len(people))]


# -- schedulers --------------------------------------------------------------------------------------------


async def ticks(trial: Trial, careless: bool) -> Sequence[Finding]:
    """Four schedulers: one late, some killed, one asleep over a tick."""
    some = trial.take(Ticks(2, (0,), 1), Ticks(10, (1, 3, 4, 6, 8), 5))
    clock = FileClock(trial.folder / "clock")
    clock.set(START)
    resend, loop = FakeResend(now=clock.now), trial.folder / "loop.json"
    loop.write_text(json.dumps(every_minute()))
    async with fresh_database() as dsn:
        await _prepared(dsn, PEOPLE)
        driver = await asyncpg.connect(dsn)

        async def acted(due: datetime) -> bool:
            mailed = by_minute(resend)[due] > 0
            return mailed and (careless or await driver.fetchval(DONE, due) > 0)

        with serving(resend.app, log_level="critical") as mail, anyio.fail_after(300):
            env = {"WORK_RESEND": mail, "WORK_CLOCK": str(trial.folder / "clock")}
            env |= {"WORK_DATABASE": dsn, "WORK_LOOP": str(loop)}
            envs = [env | {"WORK_LATE": "120" if number == LATE else "0"} for number in range(4)]
            by_hand = [sys.executable, "-m", "tests.support.naive_scheduler"]
            with Workers(by_hand if careless else skene_command("worker"), [*envs]) as workers:
                await workers.all_at_work()
                while not careless and not await driver.fetchval("SELECT count(*) FROM skene_ticks"):
                    await anyio.sleep(0.05)
                await some.pass_by(workers, clock, trial.seed, acted)
        await driver.close()
    return [
        exactly("kills", workers.kills, len(some.killed_at)),
        exactly("ticks without exactly one mail", len(some.faults(resend)), 0),
        exactly("mails", len(resend.emails), some.count),
    ]


PROOFS = (
    Proof(
        key="wrong-clocks",
        claim="Applications whose clocks are wrong by ten minutes count in the same windows.",
        faults=("clocks-differ",),
        numbers="20 people, 200 calls each, 4 processes at 0, +10, −10, +5 minutes, windows of 10 minutes",
        try_ours=lambda trial: differ(trial, careless=False),
        control="begins a new window when the application's clock says so",
        try_control=lambda trial: differ(trial, careless=True),
    ),
    Proof(
        key="clock-steps-back",
        claim="A clock that steps back an hour reopens no window and asks nobody twice.",
        faults=("clock-steps-back",),
        numbers="20 people, 100 units in each of 3 windows, 4 processes, an hour back and forth",
        try_ours=lambda trial: steps_back(trial, careless=False),
        control="begins a new window when the clock is outside the one that is kept",
        try_control=lambda trial: steps_back(trial, careless=True),
    ),
    Proof(
        key="ticks",
        claim="Each tick of a schedule acts once, however many schedulers there are, late, killed or asleep.",
        faults=("two-schedulers", "killed-at-a-tick", "scheduler-late", "scheduler-asleep"),
        numbers="10 ticks, 4 schedulers, 5 kills, one 120 s late, one stopped over a tick",
        try_ours=lambda trial: ticks(trial, careless=False),
        control="the leader remembers its last tick in memory",
        try_control=lambda trial: ticks(trial, careless=True),
    ),
)
