"""Ticks of a schedule that comes every minute, and four schedulers of which none can be relied upon."""

import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio

from skene.testing.resend_server import FakeResend
from tests.definitions.seeds import RETENTION
from tests.support.loops_at_work import FileClock
from tests.support.workers import Workers

__all__ = ["DONE", "LATE", "PEOPLE", "QUERY", "START", "Ticks", "by_minute", "every_minute"]

START = datetime(2026, 3, 2, 11, 59, 30, tzinfo=UTC)
MINUTE, STEP = timedelta(minutes=1), timedelta(seconds=10)
LATE, STOPPED = 1, 2
"""Which of the four has a wrong clock; which one stands still for a tick."""
QUERY = "SELECT id, email, name FROM users WHERE dormant"
PEOPLE = """
CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT, name TEXT, dormant BOOLEAN);
INSERT INTO users VALUES ('ada', 'ada@app.test', 'Ada', true), ('bob', 'bob@app.test', 'Bob', false)
"""
DONE = """
SELECT count(*) FROM skene_ticks AS t JOIN skene_firings AS f ON f.step = t.step AND f.tick = t.tick
 WHERE t.tick = $1 AND f.state = 'done'
"""


def every_minute(cron: str = "* * * * *", timezone: str = "UTC") -> dict[str, Any]:
    """The seed's loop with another schedule, for people who may be written to again and again."""
    loop: dict[str, Any] = json.loads(RETENTION.read_text())
    (first,) = loop["steps"]
    first["trigger"] |= {"cron": cron, "timezone": timezone}
    first["condition"]["query"] = QUERY
    first["action"]["personalization"] = {"name": "{{user.name}}"}
    first["cooldown"] = "1s"
    return loop


def by_minute(resend: FakeResend) -> Counter[datetime]:
    """How many mails each minute has brought."""
    return Counter(mail.created_at.replace(second=0, microsecond=0) for mail in resend.emails)


@dataclass(frozen=True, slots=True)
class Ticks:
    """How many, those around which a scheduler is killed, and the one that another sleeps over."""

    count: int
    killed_at: tuple[int, ...]
    stopped_at: int

    async def pass_by(
        self, workers: Workers, clock: FileClock, seed: int, acted: Callable[[datetime], Awaitable[bool]]
    ) -> None:
        """Let time pass from tick to tick."""
        now = START
        for tick in range(self.count):
            due = START.replace(second=0) + MINUTE * (tick + 1)
            if tick == self.stopped_at:
                workers.signal(STOPPED, signal.SIGSTOP)
            async with anyio.create_task_group() as tasks:
                if tick in self.killed_at:
                    kill = partial(workers.kill_at_random, seed + tick, 1, among=(0, 1, 3), within=1)
                    tasks.start_soon(kill)
                while now < due or not await acted(due):
                    now = min(now + STEP, due + STEP * 5)
                    clock.set(now)
                    with anyio.move_on_after(0.2):
                        while not await acted(due):
                            await anyio.sleep(0.02)
            if tick == self.stopped_at:
                workers.signal(STOPPED, signal.SIGCONT)
            now = due + MINUTE / 2
            clock.set(now)  # whoever held something has lost it by now, and may act a second time

    def faults(self, resend: FakeResend) -> dict[str, int]:
        """What is wrong with the mails: one is wanted for each tick."""
        wanted = {START.replace(second=0) + MINUTE * (tick + 1) for tick in range(self.count)}
        got = by_minute(resend)
        return {
            at.strftime("%H:%M"): got[at] for at in sorted(wanted | got.keys()) if (at in wanted) != got[at]
        }
