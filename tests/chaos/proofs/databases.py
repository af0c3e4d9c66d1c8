"""A database that crashes, is away, or takes no writes: nothing is lost, and nobody is told of a limit."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle

import anyio
import anyio.to_thread

from tests.chaos.frame.load import Books, begun, storm
from tests.chaos.frame.stand import OURS, Stand, by_hand, stand
from tests.chaos.proof import Finding, Proof, Trial, at_least, at_most, exactly
from tests.chaos.proofs.admission import lawful

__all__ = ["PROOFS"]

PLENTY = 1_000_000_000
SUBJECTS = tuple(f"subject-{number}" for number in range(40))
PAUSE = 0.02
"""Seconds between two calls of a caller, who would else do nothing but hear that there is no database."""


async def crashed(trial: Trial, env: Mapping[str, str]) -> Sequence[Finding]:
    """Callers call while the server is stopped without a word, and started again."""
    crashes, processes = trial.take(2, 4), trial.take(2, 4)
    chance, books, ended = trial.random(), Books(), anyio.Event()
    healed: list[float] = []
    async with stand(trial, processes, env, limit=PLENTY) as here:
        pids = [process.pid for process in here.processes.running]
        async with anyio.create_task_group() as tasks:
            subjects = begun(cycle(SUBJECTS), ended)
            tasks.start_soon(partial(storm, here.addresses, subjects, 32, books, pause=PAUSE))
            await books.admits_again(20)
            for _ in range(crashes):
                await anyio.sleep(chance.uniform(0.5, trial.take(1.0, 4.0)))
                await anyio.to_thread.run_sync(here.server.crash)
                await anyio.sleep(chance.uniform(0, 1.5))
                await anyio.to_thread.run_sync(here.server.start)
                healed.append(await books.admits_again(30))
            ended.set()
        counted = await here.counted(books.subjects)
        alive = [process.pid for process in here.processes.running if process.poll() is None]
    return [
        at_least("admitted", books.yes, 1),
        at_least("calls during which the server was away", books.unknown, 1),
        *lawful(books, counted),
        exactly("calls told of a limit", books.no, 0),
        at_most("longest until somebody was served again", max(healed), trial.take(20.0, 5.0), " s"),
        exactly("processes of the app that ended", len(set(pids) - set(alive)), 0),
    ]


async def stopped(trial: Trial, env: Mapping[str, str]) -> Sequence[Finding]:
    """Callers call all the while that there is no server."""
    seconds, processes = trial.take(4.0, 30.0), 2
    before, books, after = Books(), Books(), Books()
    async with stand(trial, processes, env, limit=PLENTY) as here:
        await storm(here.addresses, SUBJECTS, 8, before)
        await anyio.to_thread.run_sync(here.server.stop)
        lines, ended = _lines(here), anyio.Event()
        async with anyio.create_task_group() as tasks:
            subjects = begun(cycle(SUBJECTS), ended)
            tasks.start_soon(partial(storm, here.addresses, subjects, 20, books, pause=PAUSE))
            await anyio.sleep(seconds)
            ended.set()
        written = max(now - then for now, then in zip(_lines(here), lines, strict=True))
        await anyio.to_thread.run_sync(here.server.start)
        ended = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(storm, here.addresses, begun(cycle(SUBJECTS), ended), 2, after)
            healed = await after.admits_again(30)
            ended.set()
        mails = here.mails_in_all()
    return [
        at_least("calls", len(books.took), 1),
        exactly("answers that are not 503", len(books.took) - books.statuses[503], 0),
        exactly("calls told of a limit", books.no + after.no, 0),
        at_most("slowest answer", books.slowest, trial.take(10.0, 2.5), " s"),
        at_most("log lines a second of a process", written / seconds, 1),
        exactly("mails, written or waiting", mails, 0),
        at_most("until somebody was served again", healed, trial.take(20.0, 5.0), " s"),
    ]


def _lines(here: Stand) -> list[int]:
    """How many lines each process has written by now."""
    return [here.processes.log(number).count(b"\n") for number in range(len(here.addresses))]


PROOFS = (
    Proof(
        key="crashed",
        claim="A database that crashes loses no use that was acknowledged, and is used again by itself.",
        faults=("database-crashes",),
        numbers="4 immediate crashes under 32 callers of 4 processes",
        try_ours=lambda trial: crashed(trial, OURS),
        control="the same statement on a table without a log, for speed",
        try_control=lambda trial: crashed(trial, by_hand("quickly")),
    ),
    Proof(
        key="stopped",
        claim="While the database is away, nobody is told of a limit, and nobody waits or reads for long.",
        faults=("database-away",),
        numbers="30 s without a server, 20 callers of 2 processes",
        try_ours=lambda trial: stopped(trial, OURS),
        control="refuses whom it cannot count, and logs why",
        try_control=lambda trial: stopped(trial, by_hand("fail_closed")),
    ),
)
