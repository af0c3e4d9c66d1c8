import os
from collections.abc import Callable, Mapping

import pytest

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from skene.wiring import storage_from
from tests.acceptance.secret_things import Told
from tests.support.markers import everything_logged
from tests.support.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'app.db'}"
    dsn = request.getfixturevalue("postgres_dsn")
    storage = storage_from(dsn)
    await storage.migrate()
    await storage.aclose()
    return dsn


@pytest.fixture(scope="module")
def durable_server():
    """A PostgreSQL as in production: what it has acknowledged is on the disk."""
    with PostgresServer(durable=True) as server:
        yield server


@pytest.fixture
def seed():
    """What the random numbers of a proof follow from; another one with SKENE_TEST_SEED."""
    return int(os.environ.get("SKENE_TEST_SEED", "2026"))


@pytest.fixture
def resend():
    return FakeResend(now=SystemClock().now)


@pytest.fixture
def mail(resend):
    with serving(resend.app, log_level="critical") as address:  # some tests hang up on it
        yield address


Environment = Callable[..., Mapping[str, str]]


@pytest.fixture
def environment(mail, tmp_path) -> Environment:
    """The environment of a worker for one loop."""

    def make(database: str, loop: str, **more: object) -> Mapping[str, str]:
        path = tmp_path / "loop.json"
        path.write_text(loop)
        told = {f"WORK_{name.upper()}": str(value) for name, value in more.items()}
        return {"WORK_DATABASE": database, "WORK_RESEND": mail, "WORK_LOOP": str(path), **told}

    return make


@pytest.fixture
def said():
    with everything_logged() as log:
        yield Told(log)
