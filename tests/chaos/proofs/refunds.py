"""A call that fails costs nothing: its unit goes back once, into the window that it came from."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import asyncpg

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from tests.chaos.frame.fleet import Fleet, fleet, fresh_database
from tests.chaos.proof import Finding, Proof, Trial, exactly
from tests.support.loops_at_work import FileClock

__all__ = ["PROOFS"]

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
BELOW_ZERO = """
SELECT (SELECT count(*) FROM skene_usage WHERE used < 0)
     + (SELECT count(*) FROM skene_usage_history WHERE used < 0)
"""
PAST = "SELECT coalesce(sum(used), 0) FROM skene_usage_history"


async def refunds(trial: Trial, careless: bool) -> Sequence[Finding]:
    """Calls that fail in every way, over several processes."""
    clock, folder = FileClock(trial.folder / "clock"), trial.folder / "deaths"
    clock.set(START)
    folder.mkdir()
    async with fresh_database() as dsn:
        with serving(FakeResend(now=SystemClock().now).app) as mail:
            env = {"APP_DATABASE": dsn, "APP_RESEND": mail, "APP_LIMIT": "100000"}
            env |= {"APP_CLOCK": str(trial.folder / "clock"), "APP_DEATHS": str(folder)}
            env |= {"APP_CARELESS": "refunds"} if careless else {}
            async with fleet([env] * trial.take(2, 4)) as app:
                findings = [
                    *await _mixed(app, trial),
                    *await _killed(app, trial),
                    await _repeated_meanwhile(app, trial),
                    *await _window_ends(app, trial, clock, dsn),
                ]
        driver = await asyncpg.connect(dsn)
        findings.append(exactly("counters below zero", await driver.fetchval(BELOW_ZERO), 0))
        await driver.close()
    return findings


async def _mixed(app: Fleet, trial: Trial) -> list[Finding]:
    """Calls that raise, that answer 500, and that succeed, all at once."""
    each = trial.take(10, 500)
    fails = iter(trial.random().sample(["0", "1", "500"] * each, 3 * each))
    ran = 0

    async def one_after_another() -> None:
        nonlocal ran
        for fail in fails:
            answer = await app.insist("ada", x_fail=fail)
            ran += (answer.status_code == 200) == (fail == "0")

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one_after_another)
    return [
        exactly("calls that went as they should", ran, 3 * each),
        exactly(f"counted of {each} that succeed and {2 * each} that fail", await app.used("ada"), each),
    ]


async def _killed(app: Fleet, trial: Trial) -> list[Finding]:
    """Processes that die with a unit to give back, and having given it back, before anybody hears of it."""
    before, after = 0, 0
    times = trial.take(1, 6)
    for number in range(times):
        for place in ("refund", "refunded"):
            process = number % len(app.addresses)
            await app.ask(process, f"{place}-{number}", x_fail="500")
            await app.workers.revived(process)
            await app.insist(f"{place}-{number}", x_fail="1")  # takes and gives back its own, and no other
        before += await app.used(f"refund-{number}")
        after += await app.used(f"refunded-{number}")
    return [
        exactly("still counted of calls killed before their unit went back", before, times),
        exactly("still counted of calls killed after it", after, 0),
    ]


async def _repeated_meanwhile(app: Fleet, trial: Trial) -> Finding:
    """A call is repeated under its key while it runs, for nothing. Then it fails: the repeat was a call."""
    sign, key = trial.folder / "cyn", "again"
    async with anyio.create_task_group() as tasks:
        await tasks.start(partial(app.hold, 0, "cyn", sign, idempotency_key=key, x_fail="500"))
        await app.insist("cyn", idempotency_key=key)
        sign.unlink()
    return exactly("counted of a call that fails and its repeat that does not", await app.used("cyn"), 1)


async def _window_ends(app: Fleet, trial: Trial, clock: FileClock, dsn: str) -> list[Finding]:
    """Windows end while calls are under way, which fail in the next one."""
    people = [f"bob-{number}" for number in range(trial.take(3, 30))]
    driver = await asyncpg.connect(dsn)
    async with anyio.create_task_group() as tasks:
        for number, one in enumerate(people):
            process = number % len(app.addresses)
            await tasks.start(partial(app.hold, process, one, trial.folder / one, x_fail="500"))
        clock.set(START + MONTH)
        for one in people:
            await app.insist(one)
        past = await driver.fetchval(PAST)
        for one in people:
            (trial.folder / one).unlink()
    given_back = past - await driver.fetchval(PAST)
    await driver.close()
    return [
        exactly("given back in the window before", given_back, len(people)),
        exactly("counted in the next", sum([await app.used(one) for one in people]), len(people)),
    ]


PROOFS = (
    Proof(
        key="refunds",
        claim="What a failed call took goes back once, never below zero and never into another window.",
        faults=("handler-raises", "killed-before-refund", "window-ends-meanwhile", "repeated-meanwhile"),
        numbers="1,000 failing calls among 500, 12 kills at a refund, 30 windows that end, 4 processes",
        try_ours=lambda trial: refunds(trial, careless=False),
        control="UPDATE … SET used = used - 1",
        try_control=lambda trial: refunds(trial, careless=True),
    ),
)
