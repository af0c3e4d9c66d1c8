from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import store
from app import app
from httpx import ASGITransport, AsyncClient
from sqlalchemy.pool import NullPool


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The app's tables, in a file of each test's own."""
    file = tmp_path / "app.db"
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=NullPool)
    store.tables.create_all(engine)
    monkeypatch.setattr(store, "engine", engine)
    return file


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://app") as client:
        yield client
