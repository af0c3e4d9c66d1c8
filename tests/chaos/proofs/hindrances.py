"""Strangers' locks, a network that fails, clients that hang up: each costs those it meets, and no more."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count, cycle

import anyio
import anyio.to_thread
import asyncpg

from tests.chaos.frame.load import Books, Line, begun, storm
from tests.chaos.frame.stand import OURS, Stand, by_hand, durable_server, stand
from tests.chaos.proof import Finding, Proof, Trial, at_least, at_most, exactly
from tests.chaos.proofs.admission import lawful
from tests.support.network import Network, network

__all__ = ["PROOFS"]

PLENTY = 1_000_000_000
PAUSE = 0.02
POOL = 3
"""The fewest connections of a process that skene takes."""
TOLD = 2.3
"""Seconds: a call has 2 for its count and the record of its refusal together; it is sent and read besides."""
LOCKS = {
    "skene_usage": "SELECT FROM skene_usage WHERE subject = 'locked' FOR UPDATE",
    "counters": "SELECT FROM counters WHERE subject = 'locked' FOR UPDATE",
    "skene_walls": "LOCK TABLE skene_walls IN SHARE MODE",
}
THEIRS = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


async def locked(trial: Trial, env: Mapping[str, str]) -> Sequence[Finding]:
    """A stranger locks one subject's row and the table of walls; refusals use up all other connections."""
    seconds, processes, limit = trial.take(4.0, 30.0), 2, 3
    stuck, refused, others = Books(), Books(), Books()
    fresh = (f"other-{number // limit}" for number in count())
    full = [f"full-{number}" for number in range(20)]
    patience = trial.take(5.0, 20.0)
    async with stand(trial, processes, env, pool=POOL, limit=limit) as here:
        await storm(here.addresses, full * limit, 8)
        await storm(here.addresses, ["locked"], 1, stuck)
        stuck.forget_times()
        call_on = partial(storm, here.addresses, pause=PAUSE, patience=patience)
        stranger = await asyncpg.connect(here.server.dsn(here.database))
        ended = anyio.Event()
        async with stranger.transaction():
            for table, lock in LOCKS.items():
                if await stranger.fetchval("SELECT to_regclass($1)::text", table):
                    await stranger.execute(lock)
            async with anyio.create_task_group() as tasks:
                for books, subjects, callers in (
                    (stuck, cycle(["locked"]), 6),
                    (refused, cycle(full), 20),
                    (others, fresh, 24),
                ):
                    going = begun(subjects, ended)
                    tasks.start_soon(partial(call_on, subjects=going, connections=callers, books=books))
                await anyio.sleep(seconds)
                ended.set()
        await stranger.close()
        admitted = 1000 * others.statuses[200] // max(1, len(others.took))
        behind = len(stuck.took) + len(refused.took) - stuck.statuses[503] - refused.statuses[503]
        await storm(here.addresses, ["locked"] * limit, 1, stuck)
        counted = await here.counted(["locked"])
    return [
        at_least("calls of others", len(others.took), 1),
        at_least("of 1,000 calls of others admitted", admitted, trial.take(900, 990)),
        at_most("99 of 100 calls of others took", others.seconds(0.99), trial.take(3.0, 1.0), " s"),
        exactly("calls behind the locks not answered with 503", behind, 0),
        at_most("slowest behind the row", stuck.slowest, trial.take(10.0, 2.0), " s"),
        at_most("slowest without a connection", refused.slowest, trial.take(10.0, TOLD), " s"),
        *lawful(stuck, counted),
        exactly("counted when the row is free again and all was used", counted["locked"], limit),
    ]


async def disturb(trial: Trial, net: Network, healed: list[float], books: Books) -> None:
    """Do everything to the network that there is, again and again; each time wait until it is used again."""
    chance = trial.random()
    for _ in range(trial.take(1, 6)):
        kinds = ["cut", "cut answers", "delay", "swallow", "refuse"]
        chance.shuffle(kinds)
        for kind in kinds:
            await anyio.sleep(chance.uniform(0.1, 0.5))
            if kind == "cut answers":
                net.cuts_answers = 20
                await anyio.sleep(0.5)
                net.cuts_answers = 0
            elif kind == "delay":
                net.delay = chance.uniform(0.1, 0.6)
                await anyio.sleep(2)
                net.delay = 0
            elif kind == "swallow":
                net.swallows = True
                await anyio.sleep(2.5)
                net.swallows = False
            elif kind == "refuse":
                net.refuses = True
                net.cut()
                await anyio.sleep(1)
                net.refuses = False
            if kind != "delay":
                net.cut()
            healed.append(await books.admits_again(30))


async def disturbed(trial: Trial, env: Mapping[str, str]) -> Sequence[Finding]:
    """Callers call while the network between the app and its database fails in every way."""
    books, healed, ended = Books(), list[float](), anyio.Event()
    subjects = (f"subject-{number // 4}" for number in count())
    async with (
        network(durable_server().port) as net,
        stand(trial, 2, env, dsn=net.dsn("{database}"), limit=PLENTY) as here,
    ):
        async with anyio.create_task_group() as tasks:
            calls = begun(subjects, ended)
            tasks.start_soon(partial(storm, here.addresses, calls, 24, books, pause=PAUSE))
            await books.admits_again(20)
            await disturb(trial, net, healed, books)
            ended.set()
        counted = await here.counted(books.subjects)
    return [
        at_least("connections cut", net.cuts, 10),
        at_least("admitted", books.yes, 1),
        *lawful(books, counted),
        exactly("calls told of a limit", books.no, 0),
        at_most("slowest answer", books.slowest, trial.take(10.0, 2.5), " s"),
        at_most("longest until somebody was served again", max(healed), trial.take(20.0, 5.0), " s"),
    ]


async def abandoned(trial: Trial, env: Mapping[str, str]) -> Sequence[Finding]:
    """Clients send a request and hang up, before it is read, while it is worked on, or afterwards."""
    clients, at_once, processes, pool = trial.take(300, 3_000), 100, 2, 5
    chance = trial.random()
    waits = [(f"subject-{number % 20}", chance.uniform(0, 0.08)) for number in range(clients)]
    async with stand(trial, processes, env, limit=PLENTY, work=0.02, pool=pool) as here:
        left = iter(waits)

        async def client(address: str) -> None:
            for subject, seconds in left:
                line = Line(address, patience=seconds)
                await line.ask("POST /api/features/work", subject)
                await line.aclose()

        async with anyio.create_task_group() as tasks:
            for number in range(at_once):
                tasks.start_soon(client, here.addresses[number % processes])
        charged, runs = await _settled(here, {subject for subject, _ in waits})
        watcher = await asyncpg.connect(here.server.dsn(here.database))
        connections = await watcher.fetchval(THEIRS, here.database)
        idle = await watcher.fetchval(THEIRS + " AND state LIKE 'idle in transaction%'", here.database)
        await watcher.close()
        after = await storm(here.addresses, [f"after-{number}" for number in range(100)], 50)
    return [
        at_least("runs", runs, clients // 10),
        at_least("charged less run", charged - runs, 0),
        at_most("charged and not run", charged - runs, at_once),
        at_most("connections to the database", connections, processes * pool),
        exactly("of them idle in a transaction", idle, 0),
        exactly("of 100 calls admitted afterwards", after.yes, 100),
    ]


async def _settled(here: Stand, subjects: set[str]) -> tuple[int, int]:
    """What is charged and run in all, when neither changes any more."""
    before = (-1, -1)
    while True:
        now = sum((await here.counted(subjects)).values()), await here.runs()
        if now == before:
            return now
        before = now
        await anyio.sleep(0.5)


PROOFS = (
    Proof(
        key="locked",
        claim="A row that a stranger has locked holds up its own subject only, and that one not for long.",
        faults=("row-locked", "pool-exhausted"),
        numbers="a row and a table locked for 30 s, 50 callers of 2 processes with 3 connections each",
        try_ours=lambda trial: locked(trial, OURS),
        control="one exact statement, and no limit to how long it may wait",
        try_control=lambda trial: locked(trial, by_hand("wait_for_ever")),
    ),
    Proof(
        key="disturbed",
        claim="A network that breaks in the middle of a statement makes no use count twice, nor not at all.",
        faults=("network-cut", "network-slow", "network-silent"),
        numbers="6 times each: cut, cut after the statement, held up, silent, refusing; 24 callers",
        try_ours=lambda trial: disturbed(trial, OURS),
        control="tries a call again whose connection broke",
        try_control=lambda trial: disturbed(trial, by_hand("try_again")),
    ),
    Proof(
        key="abandoned",
        claim="Clients that hang up leak nothing, run nothing for free and pay for nothing else.",
        faults=("client-gone", "cancelled-while-counting"),
        numbers="3,000 clients, 100 at a time, that hang up within 80 ms",
        try_ours=lambda trial: abandoned(trial, OURS),
        control="counts when the answer has been received",
        try_control=lambda trial: abandoned(trial, by_hand("if_received")),
    ),
)
