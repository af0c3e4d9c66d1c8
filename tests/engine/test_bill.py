"""What of a counter has been put on a bill: every unit once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.bill import Bill, added, charged, given_back, moment, owed, past, settled

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def test_a_billed_charge_is_looked_at() -> None:
    bill = charged(Bill(), MARCH, billed=True, moved=False)
    assert bill == Bill(True, 0, MARCH, 0)
    assert charged(Bill(False, 7, MARCH, 2), MARCH, billed=True, moved=False) == Bill(True, 7, MARCH, 2)


def test_a_new_window_owes_everything_again() -> None:
    before = Bill(False, 7, MARCH, 2)
    assert charged(before, APRIL, billed=True, moved=True) == Bill(True, 0, APRIL, 2)
    # The same when only its start says so: a process of the release before has moved it on.
    assert charged(before, APRIL, billed=True, moved=False) == Bill(True, 0, APRIL, 2)
    assert past(before, MARCH) == Bill(True, 7, MARCH, 2)


def test_use_that_is_on_no_bill_is_not_looked_at() -> None:
    assert charged(Bill(), MARCH, billed=False, moved=False) == Bill()
    assert charged(Bill(True, 7, MARCH, 2), MARCH, billed=False, moved=False) == Bill(True, 7, MARCH, 2)
    assert charged(Bill(True, 7, MARCH, 2), APRIL, billed=False, moved=True) == Bill(False, 0, None, 2)
    assert past(Bill(True, 7, MARCH, 2), APRIL) == Bill(False, 0, APRIL, 2)


def test_what_was_given_back_is_looked_at_if_it_was_reported() -> None:
    assert given_back(Bill(False, 7, MARCH, 2), MARCH) == Bill(True, 7, MARCH, 2)
    assert given_back(Bill(False, 7, MARCH, 2), APRIL) == Bill(False, 7, MARCH, 2)
    assert given_back(Bill(False, 0, MARCH, 0), MARCH) == Bill(False, 0, MARCH, 0)


@pytest.mark.parametrize(
    ("reported", "used", "included", "due"),
    [(0, 5, 0, 5), (0, 5, 5, 0), (0, 5, 9, 0), (0, 12, 5, 7), (7, 12, 5, 0), (7, 10, 5, -2), (7, 3, 5, -7)],
)
def test_what_is_owed(reported: int, used: int, included: int, due: int) -> None:
    bill = Bill(True, reported, MARCH, 3)
    assert owed(bill, MARCH, used, included) == due
    after = settled(bill, MARCH, used, included)
    assert after == Bill(False, reported + due, MARCH, 3 + (due != 0))
    assert owed(after, MARCH, used, included) == 0


def test_what_comes_to_light_later() -> None:
    assert added(Bill(False, 3, MARCH, 1), Bill(True, 4, MARCH, 2)) == Bill(True, 7, MARCH, 2)
    assert added(Bill(True, 3, MARCH, 5), Bill(False, 4, MARCH, 2)) == Bill(True, 7, MARCH, 5)


def test_a_report_names_an_instant_of_its_window() -> None:
    inside = MARCH + timedelta(days=3)
    assert moment(MARCH, APRIL, inside) == inside
    assert moment(MARCH, APRIL, APRIL) == APRIL - MICROSECOND
    assert moment(MARCH, APRIL, APRIL + timedelta(days=3)) == APRIL - MICROSECOND
    assert moment(MARCH, APRIL, MARCH - timedelta(days=3)) == MARCH


@given(
    st.lists(st.tuples(st.sampled_from(("use", "back", "report", "renew")), st.integers(1, 9))),
    st.integers(0, 9),
)
def test_every_unit_is_reported_once(history: list[tuple[str, int]], included: int) -> None:
    """Whenever reports are made, what was reported of each window is what it owes."""
    start, bill, used, told = MARCH, Bill(), 0, 0
    for what, units in history:
        if what == "use":
            used, bill = used + units, charged(bill, start, billed=True, moved=False)
        elif what == "back":
            used, bill = max(0, used - units), given_back(bill, start)
        elif what == "report" and bill.billable:
            told += owed(bill, start, used, included)
            bill = settled(bill, start, used, included)
        elif what == "renew":
            over = past(bill, start)
            assert told + over.billable * owed(over, start, used, included) == max(0, used - included)
            start, used, told = start + timedelta(days=30), units, 0
            bill = charged(bill, start, billed=True, moved=True)
        assert bill.billable or owed(bill, start, used, included) == 0
