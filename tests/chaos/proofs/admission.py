"""Never one more than the limit, however many ask at once, and whoever is killed meanwhile."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count, repeat
from random import Random  # noqa: TID251 - a trial's own

import anyio

from tests.chaos.frame.load import Books, begun, storm
from tests.chaos.frame.stand import OURS, Stand, by_hand, stand
from tests.chaos.proof import Finding, Proof, Trial, at_least, exactly

__all__ = ["PROOFS", "lawful"]

LIMIT = 100


def lawful(books: Books, counted: Mapping[str, int]) -> Sequence[Finding]:
    """The law of books: acknowledged ≤ counted ≤ acknowledged + unanswered, of each subject."""
    pairs = [(tally, counted[subject]) for subject, tally in books.subjects.items()]
    return [
        exactly("acknowledged and not counted", sum(max(0, t.yes - used) for t, used in pairs), 0),
        exactly("counted and never asked for", sum(max(0, used - t.yes - t.unknown) for t, used in pairs), 0),
    ]


async def exact(trial: Trial, env: Mapping[str, str], rounds: int) -> Sequence[Finding]:
    """Rounds of calls of one subject each, over several processes."""
    calls, connections = trial.take(1_000, 10_000), trial.take(50, 100)
    admitted: list[int] = []
    refused: list[int] = []
    async with stand(trial, trial.take(2, 4), env) as here:
        for number in range(rounds):
            books = await storm(here.addresses, repeat(f"subject-{number}", calls), connections)
            admitted.append(books.yes)
            refused.append(books.no)
    return [
        exactly("rounds in which 100 were admitted", admitted.count(LIMIT), rounds),
        exactly("most admitted in a round", max(admitted), LIMIT),
        exactly("refusals", sum(refused), rounds * (calls - LIMIT)),
    ]


def _visitors(chance: Random) -> Iterator[str]:
    """Subjects without end, each with more or fewer calls than the limit."""
    for number in count():
        yield from repeat(f"subject-{number}", chance.randint(LIMIT // 2, 2 * LIMIT))


async def killed(trial: Trial, env: Mapping[str, str]) -> Sequence[Finding]:
    """Calls of one subject after another, while processes are killed and started again."""
    processes, kills = trial.take(2, 4), trial.take(2, 12)
    ended = anyio.Event()
    async with stand(trial, processes, env) as here:
        books = Books()
        callers = partial(storm, here.addresses, connections=trial.take(24, 48), books=books)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(callers, begun(_visitors(trial.random()), ended))
            await here.processes.kill_at_random(trial.seed, kills, among=range(processes), within=1.5)
            await here.processes.all_at_work()
            ended.set()
        counted = await here.counted(books.subjects)
        filled = await _fill(here, counted)
    return [
        at_least("kills", here.processes.kills, kills),
        at_least("subjects", len(counted), 1),
        at_least("calls without an answer", books.unknown, 1),
        exactly("subjects over their limit", sum(used > LIMIT for used in counted.values()), 0),
        *lawful(books, counted),
        exactly("subjects filled to 100 afterwards", list(filled.values()).count(LIMIT), len(filled)),
    ]


async def _fill(here: Stand, counted: Mapping[str, int]) -> Mapping[str, int]:
    """Ask for two more than is left to each; returns what is counted then."""
    for subject, used in counted.items():
        await storm(here.addresses, repeat(subject, max(0, LIMIT - used) + 2), connections=4)
    return await here.counted(counted)


async def newcomers(trial: Trial, env: Mapping[str, str]) -> Sequence[Finding]:
    """Each subject's first calls come to all processes at once."""
    subjects, each = trial.take(30, 500), 12
    books = Books()
    async with stand(trial, trial.take(2, 4), env) as here:
        for number in range(subjects):
            await storm(here.addresses, repeat(f"new-{number}", each), each, books)
        counted = await here.counted(books.subjects)
    return [
        exactly("admitted", books.yes, subjects * each),
        exactly("errors", sum(n for status, n in books.statuses.items() if status >= 500), 0),
        *lawful(books, counted),
    ]


PROOFS = (
    Proof(
        key="exact",
        claim="Of any number of simultaneous calls, exactly the limit is admitted.",
        faults=("many-at-once",),
        numbers="10,000 calls on 100 connections to 4 processes, 20 rounds",
        try_ours=lambda trial: exact(trial, OURS, trial.take(2, 20)),
        control="counts what is there, then inserts; 2 rounds",
        try_control=lambda trial: exact(trial, by_hand("count_then_insert"), 2),
    ),
    Proof(
        key="killed",
        claim="Processes that are killed at any moment lose no use and give none away.",
        faults=("killed-before-answer", "killed-in-transaction"),
        numbers="12 kills among 4 processes under 48 callers",
        try_ours=lambda trial: killed(trial, OURS),
        control="answers, and counts in a background task",
        try_control=lambda trial: killed(trial, by_hand("answer_then_count")),
    ),
    Proof(
        key="newcomers",
        claim="A subject's very first calls may come to every process at once.",
        faults=("first-calls-at-once",),
        numbers="12 calls at once of each of 500 new subjects, to 4 processes",
        try_ours=lambda trial: newcomers(trial, OURS),
        control="selects the row, then inserts or updates it",
        try_control=lambda trial: newcomers(trial, by_hand("select_then_update")),
    ),
)
