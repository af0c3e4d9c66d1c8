"""Real server processes on loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0


def free_port() -> int:
    """A TCP port on loopback that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def uvicorn_processes(
    app: str, count: int, env: Mapping[str, str], options: Sequence[str] = ()
) -> Generator[list[str]]:
    """Serve `module:app` from `count` processes, each with a port of its own; `options` are uvicorn's.

    Yields:
        Their addresses, when all of them answer.
    """
    ports = [free_port() for _ in range(count)]
    # Into files: a pipe that nobody reads fills up, and then the server stands still.
    logs = [TemporaryFile() for _ in ports]  # noqa: SIM115 - closed below, with their processes
    started = [_start(app, port, env, log, options) for port, log in zip(ports, logs, strict=True)]
    try:
        for process, port, log in zip(started, ports, logs, strict=True):
            _wait(process, port, log)
        yield [f"http://127.0.0.1:{port}" for port in ports]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in logs:
            log.close()


def _start(
    app: str, port: int, env: Mapping[str, str], log: IO[bytes], options: Sequence[str]
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning", *options]
    whole = {**os.environ, **env}
    return subprocess.Popen(command, cwd=ROOT, env=whole, stderr=log)


def _wait(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            words = log.read().decode(errors="replace")
            raise RuntimeError(f"the server ended with {process.returncode}:\n{words}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError("the server did not answer in time")
