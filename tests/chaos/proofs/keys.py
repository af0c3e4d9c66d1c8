"""Whoever repeats a call under its Idempotency-Key is charged once and gets the first answer."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import anyio

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from tests.chaos.frame.fleet import Fleet, fleet, fresh_database
from tests.chaos.proof import Finding, Proof, Trial, at_least, exactly

__all__ = ["PROOFS"]

BODY, OTHER = {"number": 1}, {"number": 2}
KEYS = ("one-after-another", "at-once", "killed")
LIMIT = len(KEYS)
"""Once each key is charged, there is nothing left: who gets through then has repeated a call."""


async def keys(trial: Trial, careless: bool) -> Sequence[Finding]:
    """A few people, each with three keys, at several processes of which one is killed."""
    times, at_once = trial.take(20, 100), trial.take(20, 50)
    people = [f"person-{number}" for number in range(trial.take(1, 10))]
    resend = FakeResend(now=SystemClock().now)
    answers = Counter[str]()
    async with fresh_database() as dsn:
        with serving(resend.app) as mail:
            env = {"APP_DATABASE": dsn, "APP_RESEND": mail, "APP_LIMIT": str(LIMIT)}
            env |= {"APP_CARELESS": "keys"} if careless else {}
            async with fleet([env] * trial.take(2, 4)) as app:
                for one in people:
                    for _ in range(times):
                        await _repeat(app, answers, one, KEYS[0])
                    async with anyio.create_task_group() as tasks:
                        for _ in range(at_once):
                            tasks.start_soon(_repeat, app, answers, one, KEYS[1])
                lost = await _killed(app, trial, people)
                for one in people:
                    for key in KEYS * 3:
                        await _repeat(app, answers, one, key)
                charged = [await app.used(one) for one in people]
                others = [await app.insist(one, body=OTHER, idempotency_key=KEYS[0]) for one in people]
                full = [await app.insist(one, body=BODY, idempotency_key="new") for one in people]
                await app.insist("stranger", body=BODY, idempotency_key=KEYS[0])
                stranger = await app.used("stranger")
    return [
        at_least("repeats", answers.total(), len(people) * (times + at_once + 9)),
        exactly("repeats with the first answer", answers["200 1"], answers.total()),
        exactly("calls whose process was killed", lost, len(people)),
        exactly("charges for three keys each", sum(charged), len(people) * LIMIT),
        exactly("charges of another person with the same key", stranger, 1),
        exactly("other bodies told so", sum(answer.status_code == 422 for answer in others), len(people)),
        exactly("new keys refused at the limit", sum(one.status_code == 402 for one in full), len(people)),
    ]


async def _repeat(app: Fleet, answers: Counter[str], one: str, key: str) -> None:
    answer = await app.insist(one, body=BODY, idempotency_key=key)
    answers[f"{answer.status_code} {answer.json().get('number')}"] += 1


async def _killed(app: Fleet, trial: Trial, people: list[str]) -> int:
    """Kill a process while it works for everybody; how many of them got no answer."""
    before = app.unanswered
    async with anyio.create_task_group() as tasks:
        for one in people:
            await tasks.start(
                partial(app.hold, 0, one, trial.folder / one, body=BODY, idempotency_key=KEYS[2])
            )
        await app.workers.kill(0)
    await app.workers.at_work(0)
    return app.unanswered - before


PROOFS = (
    Proof(
        key="keys",
        claim="A call that is repeated under its key is charged once, and answered as the first time.",
        faults=("repeated", "repeated-at-once", "repeated-after-a-kill", "same-key-of-another"),
        numbers="10 people, 159 repeats each, 50 of them at once, 4 processes, one killed at work",
        try_ours=lambda trial: keys(trial, careless=False),
        control="looks the key up, counts, stores the key; for whom and for what is not asked",
        try_control=lambda trial: keys(trial, careless=True),
    ),
)
