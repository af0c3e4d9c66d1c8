"""Processes that lease units and are killed at any moment: what is counted, what is lost, what goes back."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.leasing_app import AT_ONCE, LEASE, LIMIT, SUBJECTS, UNKNOWN, make
from tests.support.leasing_processes import Processes


async def prepare(database: str) -> None:
    async with make(database) as skene:
        await skene.usage("ada")


@pytest.fixture
async def place(database: str, tmp_path: Path, seed: int) -> tuple[Any, ...]:
    await prepare(database)
    return database, tmp_path, seed


async def test_whoever_is_killed_loses_at_most_a_block_and_nobody_gets_too_much(place: Any) -> None:
    kills = 4
    with Processes(*place) as processes:
        for _ in range(2):
            processes.start()
        for _ in range(kills):
            processes.at_least(processes.chance.randrange(50, 200))
            processes.kill()
            processes.start()
        processes.wait()  # until there is nothing left to use
        acknowledged, counted = processes.acknowledged(), await processes.counted()
    for subject in SUBJECTS:
        assert counted[subject] == LIMIT
        assert acknowledged[subject] <= LIMIT
        assert LIMIT - acknowledged[subject] <= kills * (LEASE + AT_ONCE) + acknowledged[UNKNOWN] * LEASE


async def test_whoever_is_asked_to_end_returns_everything(place: Any) -> None:
    with Processes(*place) as processes:
        for _ in range(2):
            processes.start()
        for _ in range(2):
            processes.at_least(250)
            processes.stop()
            assert await processes.counted() == dict(processes.acknowledged())
            processes.start()
        processes.wait()
        assert await processes.counted() == dict(processes.acknowledged()) == dict.fromkeys(SUBJECTS, LIMIT)


async def test_the_control_that_spends_without_taking_gives_away_too_much(place: Any) -> None:
    with Processes(*place, naive=True) as processes:
        processes.start()
        processes.at_least(600)
        processes.stop()
        assert sum(processes.acknowledged().values()) > sum((await processes.counted()).values())
