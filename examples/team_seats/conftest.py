from collections.abc import AsyncIterator

import app as example
import pytest
from httpx import ASGITransport, AsyncClient


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    example.members.clear()
    transport = ASGITransport(example.app)
    async with AsyncClient(transport=transport, base_url="http://app", headers={"X-Team": "acme"}) as client:
        yield client
