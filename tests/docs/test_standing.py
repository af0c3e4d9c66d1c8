"""The table of statuses in the docs is what the engine does."""

from datetime import UTC, datetime, timedelta

import pytest

from skene.adapters.stripe import StripeBilling
from skene.engine.standing import KNOWN_STATUSES, Subscription, entitle
from tests.docs.markdown import ROOT, Page, tables

PAGE = Page(ROOT / "docs" / "explanation" / "stripe-truth.md")
ROWS = {row[0].strip("`"): tuple(row[1:]) for row in tables(PAGE.section("Status and plan"))[0][1:]}
START = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = StripeBilling("sk_test_4eC39HqLyjWD", "whsec_MfKQ9r8GKYqrTwjUPD8", {"*": "paid"}).grace
YEARS = timedelta(days=800)


def described(status: str) -> tuple[str, str]:
    """What the engine does with a status, in the table's words."""
    subscription = Subscription("sub_1", status, "paid", START, START + timedelta(days=30))

    def at(now: datetime):
        return entitle([subscription], plans=("paid",), default="free", grace=GRACE, now=now)

    (begun, warnings), (graced, _), (late, _) = at(START), at(START + GRACE), at(START + YEARS)
    if begun.plan == "free":
        plan = "the default"
    elif late.plan == "paid":
        plan = "the price's"
    else:
        assert begun.until == START + GRACE
        assert graced.plan == "free"
        plan = "the price's for the grace, then the default"
    return plan + (", and a warning" if warnings else ""), "yes" if begun.paying else "no"


def test_every_status_is_listed():
    assert set(ROWS) == {*KNOWN_STATUSES, "anything else"}


@pytest.mark.parametrize("status", ROWS)
def test_what_a_status_means(status):
    assert ROWS[status] == described(status)


def test_the_grace():
    assert f"({GRACE.days} days" in PAGE.text
