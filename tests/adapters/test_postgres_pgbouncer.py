"""PostgresStorage behind a real PgBouncer that gives every transaction another server."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from skene.adapters.postgres import PostgresStorage
from skene.definitions.sql import read_select
from skene.errors import ConfigurationError
from skene.ports.triggers import Changes
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import apply, call, charge, refuse_once
from tests.support.postgres import PostgresAddress

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed"),
]


@pytest.fixture(scope="module")
def bouncer(postgres_server: PostgresAddress) -> Iterator[Path]:
    """The folder of the socket of a PgBouncer that has two servers for everybody."""
    assert PGBOUNCER is not None
    with tempfile.TemporaryDirectory(prefix="skene-pgb-") as name:
        folder = Path(name)
        (folder / "users.txt").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(f"""
[databases]
* = host={postgres_server.socket_dir} port={postgres_server.port} user=postgres
[pgbouncer]
listen_port = 6432
unix_socket_dir = {folder}
auth_type = any
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
""")
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            account = pwd.getpwnam("nobody")
            os.chown(folder, account.pw_uid, account.pw_gid)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        command = [PGBOUNCER, "-q", str(folder / "pgbouncer.ini")]
        with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=folder, **identity) as process:
            deadline = time.monotonic() + 10
            while not (folder / ".s.PGSQL.6432").exists():
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline, "pgbouncer did not start"
            yield folder
            process.kill()


@pytest.fixture
def dsn(bouncer: Path, postgres: str, migrated_database: str) -> str:
    """The address of the empty database through PgBouncer; `postgres` has emptied it."""
    return f"postgresql://postgres@/{migrated_database}?host={bouncer}&port=6432"


async def everything(storage: PostgresStorage) -> None:
    """Every kind of statement, a few at once."""
    clock = ManualClock()

    async def one(number: int) -> None:
        subject = f"s{number % 7}"
        counted = await storage.consume(call(charge(), charge(meter="more"), subject=subject))
        receipt = counted.tallies[0].receipt
        assert receipt is not None
        await storage.refund(subject, (receipt,))
        await refuse_once(storage, clock, subject=subject, wall_id=f"{id(storage)}-{number}")
        await apply(storage, customer=f"cus_{number % 7}", subject=subject)
        for message in await storage.claim(3, timedelta(seconds=30)):
            await storage.begin_attempt(message, {"to": "a@b"})
        await storage.funnel()

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(one, number)


async def test_an_address_works_as_it_is(dsn: str) -> None:
    storages = [PostgresStorage(dsn), PostgresStorage(dsn)]
    async with anyio.create_task_group() as group:
        for storage in storages:
            group.start_soon(everything, storage)
    assert sum(row.walls for row in await storages[0].funnel()) == 80
    admitted: list[bool] = []

    async def one(storage: PostgresStorage) -> None:
        counted = await storage.consume(call(charge(20)))
        admitted.append(counted.admitted)

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(one, storages[number % 2])
    assert sum(admitted) == 20
    for storage in storages:
        await storage.aclose()


async def test_migrations_work(bouncer: Path, postgres_dsn: str) -> None:
    name = postgres_dsn.partition("?")[0].rpartition("/")[2]
    storage = PostgresStorage(f"postgresql://postgres@/{name}?host={bouncer}&port=6432", migrate=True)
    await storage.start()
    assert (await storage.consume(call())).admitted
    await storage.aclose()


async def test_an_engine_that_prepares_statements_is_refused(dsn: str) -> None:
    """With the settings to add."""
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
    with pytest.raises(ConfigurationError, match="statement_cache_size"):
        await PostgresStorage(engine).start()
    await engine.dispose()


async def test_an_engine_that_does_not_is_used(dsn: str) -> None:
    engine = create_async_engine(
        dsn.replace("postgresql://", "postgresql+asyncpg://"),
        connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0},
    )
    await everything(PostgresStorage(engine))
    await engine.dispose()


async def test_queries_and_triggers_work_behind_it(dsn: str) -> None:
    storage = PostgresStorage(dsn)
    select = read_select("SELECT n FROM generate_series(1, 20) AS n WHERE n > :least")

    async def read() -> None:
        found = await storage.queries.fetch(select, {"least": "15"}, timeout=timedelta(seconds=5), limit=50)
        assert [row["n"] for row in found] == [16, 17, 18, 19, 20]

    for _ in range(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(read)
    assert await storage.triggers.install([]) == Changes()
    await storage.aclose()
