"""One PostgreSQL for a whole test run, however many processes the run has.

Every process that uses the server holds a shared lock on a file for as long as it lives; the system lets go
of it when the process ends, however it ends. A small keeper process owns the server and waits for that lock
to be free: the last user out, or killed, stops the server.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from tests.support.postgres import PostgresAddress, PostgresError, PostgresServer

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def shared_postgres(state: Path) -> Generator[PostgresAddress]:
    """Use the server that belongs to the folder ``state``; start it if nobody has.

    Raises:
        PostgresError: it did not start; the message has its keeper's last words.
    """
    state.mkdir(parents=True, exist_ok=True)
    ready = state / "ready.json"
    with (state / "users.lock").open("a") as users:
        with _locked(state / "start.lock"):
            # Waits for a keeper that is just stopping its server; it removes ready.json before it lets go.
            fcntl.flock(users, fcntl.LOCK_SH)
            if not ready.exists():
                _start_keeper(state)
        known = json.loads(ready.read_text())
        yield PostgresAddress(Path(known["bin_dir"]), Path(known["socket_dir"]), known["port"])


def keep(state: Path) -> None:
    """Run a server until nobody uses it any more. Tell standard output when it is ready."""
    ready = state / "ready.json"
    with (state / "users.lock").open("a") as users, PostgresServer() as server:
        found = {"bin_dir": str(server.bin_dir), "socket_dir": str(server.socket_dir), "port": server.port}
        ready.write_text(json.dumps(found))
        os.write(sys.stdout.fileno(), b"ready\n")
        fcntl.flock(users, fcntl.LOCK_EX)
        ready.unlink()


def _start_keeper(state: Path) -> None:
    with (state / "keeper.log").open("w+") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", __name__, str(state)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C must not reach it before the tests have finished with the server
        )
        _KEEPERS.append(keeper)
        assert keeper.stdout is not None
        with keeper.stdout as told:
            if told.readline() == b"ready\n":
                return
        log.seek(0)
        raise PostgresError(f"the test run's PostgreSQL did not start:\n{log.read()}")


# Kept, for a Popen that is dropped while its process runs complains.
_KEEPERS: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
