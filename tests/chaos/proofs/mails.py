"""Whoever hits a limit is written to once, whoever is killed and whatever becomes of the answers."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import anyio
import asyncpg

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from tests.chaos.frame.fleet import Fleet, fleet, fresh_database
from tests.chaos.proof import Finding, Proof, Trial, at_least, at_most, exactly
from tests.support.dying import PLACES, deaths
from tests.support.sign_ups import TABLES
from tests.support.workers import Workers

__all__ = ["PROOFS"]

UNSENT = "SELECT count(*) FROM skene_outbox WHERE state <> 'sent'"
LIMIT = 420.0
"""Seconds that a trial may take: far more than it does."""


class Post:
    """A mail API that fails in every way, and what it has accepted."""

    def __init__(self) -> None:
        self.resend = FakeResend(now=SystemClock().now)

    def fail(self, trial: Trial) -> None:
        """From now on a quarter of all requests fails in one way or another."""
        self.resend.fail(rate_429=0.1, rate_500=0.1, drop_after_accept=0.1, retry_after="1", seed=trial.seed)

    def about(self, people: Iterable[str]) -> list[Finding]:
        """One mail each, and nobody else has got any."""
        mails = Counter(address.partition("@")[0] for mail in self.resend.emails for address in mail.to)
        wanted = set(people)
        return [
            exactly("people with one mail", sum(mails[one] == 1 for one in wanted), len(wanted)),
            exactly("people without", len(wanted - mails.keys()), 0),
            exactly("mails too many", sum(mails.values()) - len(mails.keys() & wanted), 0),
        ]

    def busiest(self, seconds: float) -> int:
        """The most requests in any so many seconds."""
        times = sorted(call.at.timestamp() for call in self.resend.calls)
        return max(sum(start <= at < start + seconds for at in times) for start in times)


async def hit_the_limit(
    app: Fleet, people: Sequence[str], at_once: int = 8, folder: Path | None = None
) -> None:
    """Let each of them call until refused; whose process has died of it does not come back."""
    left, addresses = iter(people), cycle(range(len(app.addresses)))

    async def one_after_another() -> None:
        for one in left:
            while folder is None or one not in deaths(folder):
                answer = await app.ask(next(addresses), one)
                if answer is not None and answer.status_code == 402:
                    break
                await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(one_after_another)


async def all_sent(driver: "asyncpg.Connection[asyncpg.Record]", query: str) -> None:
    """Wait until a count is zero."""
    while await driver.fetchval(query):
        await anyio.sleep(0.1)


@asynccontextmanager
async def connected(dsn: str):
    driver = await asyncpg.connect(dsn)
    try:
        yield driver
    finally:
        await driver.close()


# -- killed at random --------------------------------------------------------------------------------------

PACE = 25


async def at_random(trial: Trial) -> Sequence[Finding]:
    """Server processes with workers in them are killed while people hit their limits."""
    people = [f"person-{number}" for number in range(trial.take(24, 200))]
    kills, count = trial.take(2, 20), trial.take(2, 4)
    post = Post()
    post.fail(trial)
    async with fresh_database() as dsn, connected(dsn) as driver:
        with serving(post.resend.app, log_level="critical") as mail, anyio.fail_after(LIMIT):
            env = _env(trial, dsn, mail) | {"APP_PER_SECOND": str(PACE)}
            async with fleet([env] * count) as app:
                async with anyio.create_task_group() as tasks:
                    kill = partial(app.workers.kill_at_random, among=range(count), within=0.5)
                    tasks.start_soon(kill, trial.seed, kills)
                    await hit_the_limit(app, people)
                await all_sent(driver, UNSENT)
    answers = Counter(call.status for call in post.resend.calls)
    return [
        *post.about(people),
        exactly("kills", app.workers.kills, kills),
        at_least("answers 429", answers[429], 1),
        at_least("answers 500", answers[500], 1),
        at_most("most requests in 2 s, of all processes", post.busiest(2), PACE * 3),
    ]


async def at_random_by_hand(trial: Trial) -> Sequence[Finding]:
    """The same with a sender that sends, and then notes it, under a new key each time."""
    total, kills, count = trial.take(24, 200), trial.take(3, 20), trial.take(2, 4)
    post = Post()
    post.fail(trial)
    post.resend.delay = 0.02
    async with fresh_database() as dsn, connected(dsn) as driver:
        people = await _wish_for_mail(driver, [f"person-{number}" for number in range(total)])
        with serving(post.resend.app, log_level="critical") as mail, anyio.fail_after(LIMIT):
            env = {"WORK_DATABASE": dsn, "WORK_RESEND": mail}
            with Workers(BY_HAND, [env] * count) as workers:
                async with anyio.create_task_group() as tasks:
                    kill = partial(workers.kill_at_random, among=range(count), within=0.5)
                    tasks.start_soon(kill, trial.seed, kills)
                    await all_sent(driver, "SELECT count(*) FROM users WHERE NOT mailed")
    return post.about(people)


# -- killed at chosen places -------------------------------------------------------------------------------


async def at_places(trial: Trial) -> Sequence[Finding]:
    """Processes die right after each step of a mail's way, from the wall's commit to the last note."""
    each = trial.take(1, 3)
    doomed = [f"{place}-{number}" for number in range(each) for place in PLACES]
    people = [*doomed, *(f"person-{number}" for number in range(each))]
    post, folder = Post(), trial.folder / "deaths"
    folder.mkdir()
    async with fresh_database() as dsn, connected(dsn) as driver:
        with serving(post.resend.app, log_level="critical") as mail, anyio.fail_after(LIMIT):
            env = _env(trial, dsn, mail) | {"APP_DEATHS": str(folder)}
            async with fleet([env] * trial.take(2, 4)) as app, anyio.create_task_group() as tasks:
                tasks.start_soon(_keep_alive, app.workers)
                await hit_the_limit(app, people, folder=folder)
                await all_sent(driver, UNSENT)
                # Who dies takes along others at the same place, who do not come there again.
                with anyio.move_on_after(5):
                    while len(deaths(folder)) < len(doomed):
                        await anyio.sleep(0.1)
                tasks.cancel_scope.cancel()
    died = deaths(folder)
    sent = {mail.to[0].partition("@")[0]: mail.created_at.timestamp() for mail in post.resend.emails}
    # Whoever dies takes along what else it has claimed: a mail waits from the latest death before it.
    waited = [at - max(earlier) for at in sent.values() if (earlier := [d for d in died.values() if d <= at])]
    return [
        *post.about(people),
        at_least("deaths", len(died), 3 * each),
        at_least("places of death", len({one.partition("-")[0] for one in died}), trial.take(3, len(PLACES))),
        at_most("longest wait for a mail since a process died", round(max(waited), 1), 60, " s"),
    ]


async def at_places_by_hand(trial: Trial) -> Sequence[Finding]:
    """The same with a sender that notes the mail first, so that nobody else sends it."""
    each = trial.take(1, 3)
    people = [f"{place}-{number}" for number in range(each) for place in ("claim", "sent", "person")]
    post, folder = Post(), trial.folder / "deaths"
    folder.mkdir()
    async with fresh_database() as dsn, connected(dsn) as driver:
        await _wish_for_mail(driver, people)
        with serving(post.resend.app, log_level="critical") as mail, anyio.fail_after(LIMIT):
            env = {"WORK_DATABASE": dsn, "WORK_RESEND": mail, "APP_DEATHS": str(folder)}
            env["WORK_CLAIMS_FIRST"] = "1"
            with Workers(BY_HAND, [env] * 2) as workers:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_keep_alive, workers)
                    await all_sent(driver, "SELECT count(*) FROM users WHERE NOT mailed")
                    while len(deaths(folder)) < 2 * each:
                        await anyio.sleep(0.1)
                    tasks.cancel_scope.cancel()
                await workers.all_at_work()
    return post.about(people)


BY_HAND = [sys.executable, "-m", "tests.support.naive_sender"]


def _env(trial: Trial, dsn: str, mail: str) -> Mapping[str, str]:
    # A dead worker's messages are free after 30 s; the short form does not wait that long.
    return {"APP_DATABASE": dsn, "APP_RESEND": mail, "APP_LEASE": trial.take("1.5", "30")}


async def _keep_alive(workers: Workers) -> None:
    while True:
        workers.revive()
        await anyio.sleep(0.05)


async def _wish_for_mail(driver: "asyncpg.Connection[asyncpg.Record]", people: list[str]) -> list[str]:
    await driver.execute(TABLES)
    await driver.executemany(
        "INSERT INTO users (id, email, name, activation_link) VALUES ($1, $2 || '@app.test', $2, '')",
        [*enumerate(people)],
    )
    await driver.execute(
        "INSERT INTO user_actions (user_id, action_type) SELECT id, 'first_project_created' FROM users"
    )
    return people


PROOFS = (
    Proof(
        key="one-mail",
        claim="Whoever hits a limit gets one mail, however many processes are killed and answers lost.",
        faults=("killed-at-random", "mail-answer-lost", "mail-429", "mail-500"),
        numbers="200 walls, 4 processes, 20 kills, 10 % each of 429, 500 and answers lost, one shared pace",
        try_ours=at_random,
        control="sends, then notes it; a key per attempt",
        try_control=at_random_by_hand,
    ),
    Proof(
        key="killed-anywhere",
        claim="A process that dies anywhere between a wall and its mail loses no mail and doubles none.",
        faults=("killed-before-mail", "killed-at-claim", "killed-before-sending", "killed-after-sending"),
        numbers="18 walls, up to 15 deaths in five places, 4 processes",
        try_ours=at_places,
        control="notes the mail, then sends it",
        try_control=at_places_by_hand,
    ),
)
