"""Fixtures for the tests of the test kit."""

from collections.abc import AsyncIterator

import pytest

from skene.testing import World, world
from tests.testing.apps import app


@pytest.fixture
async def inhabited() -> AsyncIterator[World]:
    async with world(app()) as entered:
        yield entered
