"""The local Stripe itself, through the SDK: does it behave as Stripe says it does?"""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from skene.adapters.stripe import StripeBilling
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import (
    Inbox,
    Switchboard,
    Time,
    fake_stripe,
    stripe_billing,
    switchboard,
)


@pytest.fixture(scope="module")
def board() -> Iterator[tuple[Switchboard, str]]:
    with switchboard() as running:
        yield running


@pytest.fixture
def now() -> Time:
    return Time()


@pytest.fixture
def fake(board: tuple[Switchboard, str], now: Time) -> FakeStripe:
    made = fake_stripe(now, base_url=board[1])
    board[0].app = made.app
    return made


@pytest.fixture
async def billing(fake: FakeStripe) -> AsyncIterator[StripeBilling]:
    made = stripe_billing(fake)
    yield made
    await made.aclose()


@pytest.fixture
def inbox(fake: FakeStripe, billing: StripeBilling, now: Time) -> Inbox:
    made = Inbox(billing, now)
    fake.connect(made)
    return made


@pytest.fixture
async def http(fake: FakeStripe) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {fake.api_key}"}
    async with httpx.AsyncClient(base_url=fake.base_url, headers=headers, trust_env=False) as client:
        yield client
