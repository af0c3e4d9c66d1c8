"""Fixtures for every test."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.support.postgres import PostgresAddress
from tests.support.shared_postgres import shared_postgres

# A developer's own keys and databases must be out of reach of every test.
for name in list(os.environ):
    ours = name in ("DATABASE_URL", "VALKEY_URL") or name.startswith(("STRIPE_", "RESEND_", "SKENE_"))
    if ours and not name.startswith("SKENE_TEST_"):
        del os.environ[name]

# No deadline per example: on a busy machine it fails tests that are right. And no explanation of what failed:
# it traces every line, for minutes.
settings.register_profile(
    "skene",
    settings.get_profile("ci" if os.environ.get("CI") else "default"),
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
settings.load_profile("skene")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio; a test that takes both parametrises ``anyio_backend``."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresAddress]:
    """The PostgreSQL of this test run, shared by all its processes."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with shared_postgres(Path(run) / "postgres") as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres_server: PostgresAddress) -> Iterator[str]:
    """The DSN of a fresh, empty database, dropped after the test."""
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)
