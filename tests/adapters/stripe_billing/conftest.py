"""StripeBilling over HTTP, with the real SDK, against the local Stripe."""

from collections.abc import AsyncIterator, Iterator

import pytest
import stripe

from skene.adapters.stripe import StripeBilling
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import Switchboard, Time, fake_stripe, stripe_billing, switchboard


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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


@pytest.fixture(autouse=True)
def impatient_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)
