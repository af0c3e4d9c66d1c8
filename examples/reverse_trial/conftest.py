from collections.abc import AsyncIterator, Iterator

import pytest
from app import app
from httpx import ASGITransport, AsyncClient
from people import USERS


@pytest.fixture(autouse=True)
def nobody_signed_up() -> Iterator[None]:
    yield
    USERS.clear()


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """A client of the app, signed in as ada."""
    headers = {"Authorization": "Bearer ada"}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://app", headers=headers) as client:
        yield client
