"""`skene worker` told to stop in the middle of a scan, a condition, an action: it ends in time."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from skene.adapters.sqlite import SqliteStorage
from skene.ports.outbox import MessageState
from tests.cli.project import Project, reacting
from tests.cli.test_worker import wait_for

SLOW = """
import time

import anyio


class Loud(SqliteQueries):
    def stream(self, *given, **named):
        print("scanning", flush=True)
        return super().stream(*given, **named)


async def slow_condition(occasion):
    print("asking", flush=True)
    await anyio.sleep(60)
    return True


async def slow_action(occasion):
    print("acting", flush=True)
    await anyio.sleep(60)


def blocking_action(occasion):
    print("acting", flush=True)
    time.sleep(60)


def blocking_condition(occasion):
    print("asking", flush=True)
    time.sleep(60)
    return True


def event_loop(**parts):
    return define_loop(type="activation", steps=[step(trigger=trigger.event("signed.up"), **parts)])


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n WHERE i < 0"
scanned = define_loop(
    type="retention",
    steps=[
        step(
            trigger=trigger.schedule("* * * * *"),
            condition=condition.query(ENDLESS),
            action=action.function(tell_sales),
        ),
    ],
)
"""


def emit(project: Project) -> None:
    """Set the step off, as another process would."""

    async def run() -> None:
        names: dict[str, Any] = {}
        exec((project.folder / "skene_config.py").read_text(), names)  # noqa: S102 - the project's own configuration
        async with names["skene"] as skene:
            await skene.emit("signed.up", "ada")

    anyio.run(run)


def begin_schedule() -> None:
    """A schedule begins where it is first seen; this one was, an hour ago."""

    async def run() -> None:
        storage = SqliteStorage("app.db")
        await storage.start()
        await storage.open_tick("retention", datetime.now(UTC) - timedelta(minutes=30), None)  # noqa: TID251 - the machine's own clock, which SQLite goes by
        await storage.aclose()

    anyio.run(run)


def firings() -> int:
    """How many firings somebody could take up at once."""

    async def run() -> int:
        storage = SqliteStorage("app.db")
        try:
            return len((await storage.claim_firings(10, timedelta(seconds=1)))[1])
        finally:
            await storage.aclose()

    return anyio.run(run)


def stop_in_the_middle(project: Project, words: str) -> None:
    with project.start("worker") as worker:
        wait_for(worker, words)
        worker.terminate()
        begun = time.monotonic()
        _, err = worker.communicate(timeout=20)
        assert time.monotonic() - begun < 10
    assert worker.returncode == 0, err
    assert "Traceback" not in err


def test_a_scan_is_broken_off_and_taken_up_again(empty: Project) -> None:
    empty.write("skene_config.py", reacting(SLOW, 'make(scanned, queries=Loud("app.db"))'))
    begin_schedule()
    stop_in_the_middle(empty, "scanning")
    assert firings() == 1


@pytest.mark.parametrize("kind", ["slow", "blocking"])
def test_a_condition_is_broken_off_and_asked_again(empty: Project, kind: str) -> None:
    loop = f"event_loop(condition=condition.function({kind}_condition), action=action.function(tell_sales))"
    empty.write("skene_config.py", reacting(SLOW, f"make({loop})"))
    emit(empty)
    stop_in_the_middle(empty, "asking")
    assert firings() == 1


@pytest.mark.parametrize("kind", ["slow", "blocking"])
@pytest.mark.parametrize(
    ("repeatable", "state"), [(False, MessageState.PARKED), (True, MessageState.PENDING)]
)
def test_an_action_that_does_not_end_is_settled(
    empty: Project, kind: str, repeatable: bool, state: MessageState
) -> None:
    loop = f"event_loop(action=action.function({kind}_action, repeatable={repeatable}))"
    empty.write("skene_config.py", reacting(SLOW, f"make({loop})"))
    emit(empty)
    stop_in_the_middle(empty, "acting")
    assert empty.states() == [state]
