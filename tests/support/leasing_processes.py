"""Real processes that lease units, and what they have acknowledged."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Self

from tests.support.leasing_app import SUBJECTS, make
from tests.support.processes import ROOT

__all__ = ["Processes"]

PATIENCE = 60.0
APP = "tests.support.leasing_app"


class Processes:
    """Processes of one app, and what they have acknowledged."""

    def __init__(self, database: str, folder: Path, seed: int, *, naive: bool = False) -> None:
        self.database = database
        self.log = folder / "acknowledged"
        self.log.touch()
        self.chance = random.Random(seed)  # noqa: S311 - for a test
        self.running: list[subprocess.Popen[bytes]] = []
        self.naive = naive

    def start(self) -> None:
        env = {
            "LEASING_DATABASE": self.database,
            "LEASING_LOG": str(self.log),
            "LEASING_SEED": str(self.chance.randrange(2**32)),
            "LEASING_NAIVE": "1" if self.naive else "",
            "PYTHONPATH": str(ROOT),
        }
        self.running.append(
            subprocess.Popen([sys.executable, "-m", APP], cwd=ROOT, env=env, stdout=subprocess.PIPE)
        )

    def kill(self) -> None:
        process = self.running.pop(self.chance.randrange(len(self.running)))
        process.kill()
        process.wait()
        _close(process)

    def stop(self) -> None:
        """Ask all of them to end, as an orchestrator does."""
        for process in self.running:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"  # before that the signal would just end it
            process.terminate()
        self.wait()

    def wait(self) -> None:
        for process in self.running:
            assert process.wait(PATIENCE) == 0
            _close(process)
        self.running.clear()

    def at_least(self, calls: int) -> None:
        """Wait until so many more calls were acknowledged."""
        aim = sum(self.acknowledged().values()) + calls
        deadline = time.monotonic() + PATIENCE
        while sum(self.acknowledged().values()) < aim:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def acknowledged(self) -> Counter[str]:
        return Counter(self.log.read_text().split())

    async def counted(self) -> dict[str, int]:
        async with make(self.database) as skene:
            return {subject: (await skene.usage(subject))[0].used for subject in SUBJECTS}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.running:
            process.kill()
            process.wait()
            _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    process.stdout.close()
