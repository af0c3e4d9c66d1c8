from collections.abc import AsyncIterator

import pytest
from app import app
from httpx import ASGITransport, AsyncClient


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    headers = {"Authorization": "Bearer token-of-ada"}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://app", headers=headers) as client:
        yield client
