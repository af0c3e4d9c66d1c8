from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
import store
from app import app
from httpx import ASGITransport, AsyncClient
from sqlalchemy.pool import NullPool


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The app's tables, in a file of each test's own; ada has signed up."""
    file = tmp_path / "app.db"
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=NullPool)
    store.tables.create_all(engine)
    with engine.begin() as connection:
        ada = {
            "email": "ada@acme.test",
            "name": "Ada",
            "last_activity_at": datetime(2025, 12, 20, tzinfo=UTC),
        }
        connection.execute(sa.insert(store.users).values(ada))
    monkeypatch.setattr(store, "engine", engine)
    return file


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://app") as client:
        yield client
