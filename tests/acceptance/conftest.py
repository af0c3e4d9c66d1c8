import pytest

from skene.wiring import storage_from


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'app.db'}"
    dsn = request.getfixturevalue("postgres_dsn")
    storage = storage_from(dsn)
    await storage.migrate()
    await storage.aclose()
    return dsn
