from collections.abc import AsyncIterator

import pytest
from app import app
from httpx import ASGITransport, AsyncClient


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    transport = ASGITransport(app)
    async with AsyncClient(transport=transport, base_url="http://app", headers={"X-User": "ada"}) as client:
        yield client
