"""Workers as processes of their own, that tests kill, stop and start again."""

import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

import anyio
import anyio.to_thread

from tests.support.processes import ROOT

__all__ = ["Workers", "report", "run_skene", "skene_command"]

CONFIG = "tests.support.loops_at_work:skene"
PATIENCE = 30.0
READY = b"at work"

_LOG = logging.getLogger(__name__)


def skene_command(*words: str) -> list[str]:
    """The command line of `skene …` on the configuration of `loops_at_work`."""
    return [str(Path(sys.executable).with_name("skene")), *words, "--config", CONFIG]


def run_skene(env: Mapping[str, str], *words: str) -> str:
    """Run `skene …` to its end and return what it wrote.

    Raises:
        AssertionError: it did not end well.
    """
    done = subprocess.run(
        skene_command(*words),
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,  # what it wrote is part of the message
        timeout=60,
    )
    assert done.returncode == 0, f"skene {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def report(numbers: Mapping[str, object]) -> str:
    """What a proof has measured, for its assertions; pytest shows it always with `--log-cli-level=INFO`."""
    text = ", ".join(f"{name}: {value}" for name, value in numbers.items())
    _LOG.info("%s", text)
    return text


class Workers:
    """Some processes that do the same work.

    Args:
        command: what each of them runs.
        envs: for each process, what its environment has besides.
        ready: what a process writes when it is at work.
    """

    def __init__(self, command: list[str], envs: list[Mapping[str, str]], *, ready: bytes = READY) -> None:
        self._command = command
        self._envs = envs
        self._ready = ready
        self._logs: list[IO[bytes]] = []
        self._said = ""
        self.running: list[subprocess.Popen[bytes]] = []
        self.kills = 0

    def __enter__(self) -> Self:
        for number in range(len(self._envs)):
            self._logs.append(TemporaryFile("w+b"))
            self.running.append(self._start(number))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, process in enumerate(self.running):
            process.send_signal(signal.SIGKILL)
            process.wait()
            self._said += self.log(number).decode(errors="replace")
            self._logs[number].close()
        if error is not None:
            error.add_note(f"what the workers wrote:\n{self._said[-3000:]}")

    @property
    def said(self) -> str:
        """What those wrote that have ended."""
        return self._said

    def is_at_work(self, number: int) -> bool:
        """Whether one has begun.

        Raises:
            AssertionError: it has ended by itself.
        """
        words = self.log(number)
        assert self.running[number].poll() is None, f"a worker has ended: {words.decode(errors='replace')}"
        return self._ready in words

    async def all_at_work(self) -> None:
        """Wait until all of them have begun.

        Raises:
            TimeoutError: one does not.
        """
        for number in range(len(self.running)):
            await self.at_work(number)

    async def at_work(self, number: int) -> None:
        """Wait until one has begun.

        Raises:
            TimeoutError: it does not.
        """
        with anyio.fail_after(PATIENCE):
            while not self.is_at_work(number):
                await anyio.sleep(0.02)

    async def kill(self, number: int) -> None:
        """Kill one with SIGKILL, in whatever it does, and start another in its place.

        One that has not begun yet is given the time for that: its death would prove nothing.
        """
        await self.at_work(number)
        self.running[number].send_signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(self.running[number].wait)
        self.kills += 1
        self._said += self.log(number).decode(errors="replace")
        self._logs[number].close()
        self._logs[number] = TemporaryFile("w+b")  # noqa: SIM115 - closed with its process
        self.running[number] = self._start(number)

    async def kill_at_random(self, seed: int, times: int, *, among: Sequence[int], within: float) -> None:
        """Kill some, one after another.

        Args:
            seed: which, and when, follows from it.
            times: how many kills.
            among: the numbers of those that may be killed, each only while it is at work.
            within: the longest pause before a kill, in seconds.
        """
        chance = random.Random(seed)  # noqa: S311 - a test's choices, to be made again alike
        for _ in range(times):
            await anyio.sleep(chance.uniform(0, within))
            with anyio.fail_after(PATIENCE):
                while not (at_work := [number for number in among if self.is_at_work(number)]):
                    await anyio.sleep(0.02)
            await self.kill(chance.choice(at_work))

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        env = {**os.environ, **self._envs[number], "PYTHONUNBUFFERED": "1"}
        log = self._logs[number]
        return subprocess.Popen(self._command, cwd=ROOT, env=env, stdout=log, stderr=log)

    def log(self, number: int) -> bytes:
        """What one has written since it was started last."""
        return os.pread(self._logs[number].fileno(), 10_000_000, 0)

    def signal(self, number: int, which: signal.Signals) -> None:
        """Send a signal to one."""
        self.running[number].send_signal(which)

    async def ended(self, number: int, within: float) -> int:
        """Wait until one has ended by itself, and return its code.

        Raises:
            TimeoutError: it has not.
        """
        with anyio.fail_after(within):
            while (code := self.running[number].poll()) is None:
                await anyio.sleep(0.02)
        return code
