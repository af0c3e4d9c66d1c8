"""The tables of statuses in the docs are what the engine does."""

import pytest

from skene.adapters.stripe import StripeBilling
from skene.engine import standing
from tests.docs import stripe_table
from tests.docs.markdown import Page

PAGE = Page(stripe_table.PATH)


def test_every_status_is_listed() -> None:
    assert not stripe_table.missing()


def test_the_page_is_what_the_engine_does() -> None:
    assert stripe_table.written(PAGE.text) == PAGE.text, "python -m tests.docs.stripe_table --write"


@pytest.mark.parametrize("status", ["active", "unpaid"])
def test_an_engine_that_does_something_else_is_noticed(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "ENDED_STATUSES", standing.ENDED_STATUSES ^ {status})
    assert stripe_table.written(PAGE.text) != PAGE.text


def test_the_grace() -> None:
    billing = StripeBilling("sk_test_4eC39HqLyjWD", "whsec_MfKQ9r8GKYqrTwjUPD8", {"*": "paid"})
    assert billing.grace == stripe_table.GRACE
    assert f"({billing.grace.days} days" in PAGE.text
