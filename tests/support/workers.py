"""Workers as processes of their own, that tests kill, stop and start again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import anyio

from tests.support.processes import ROOT

__all__ = ["Workers", "run_skene", "skene_command"]

CONFIG = "tests.support.loops_at_work:skene"
PATIENCE = 30.0
READY = b"at work"


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
        self._log = TemporaryFile("w+b")  # noqa: SIM115 - closed with the last process
        self.running: list[subprocess.Popen[bytes]] = []
        self.kills = 0

    def __enter__(self) -> Self:
        self.running = [self._start(number) for number in range(len(self._envs))]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if error is not None:
            error.add_note(f"what the workers wrote:\n{self.log()[-3000:]}")
        self._log.close()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        env = {**os.environ, **self._envs[number], "PYTHONUNBUFFERED": "1"}
        log = os.open(f"/proc/self/fd/{self._log.fileno()}", os.O_WRONLY | os.O_APPEND)
        try:
            return subprocess.Popen(self._command, cwd=ROOT, env=env, stdout=log, stderr=log)
        finally:
            os.close(log)

    def log(self) -> str:
        """What all of them have written so far."""
        return os.pread(self._log.fileno(), 10_000_000, 0).decode(errors="replace")

    async def all_at_work(self) -> None:
        """Wait until as many have said that they are at work as were ever started.

        One that is killed before it says so is not waited for: call this before the first kill.

        Raises:
            TimeoutError: one does not begin.
        """
        with anyio.fail_after(PATIENCE):
            while self.log().encode().count(self._ready) < len(self._envs):
                gone = [process.args for process in self.running if process.poll() is not None]
                assert not gone, f"a worker has ended by itself:\n{self.log()}"
                await anyio.sleep(0.05)

    def kill(self, number: int) -> None:
        """Kill one with SIGKILL, in whatever it does, and start another in its place."""
        self.running[number].send_signal(signal.SIGKILL)
        self.running[number].wait()
        self.kills += 1
        self.running[number] = self._start(number)

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
