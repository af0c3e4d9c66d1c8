"""A goal that was reached before its journey began."""

from datetime import UTC, datetime, timedelta

from skene.engine.early import goal_before

BEGUN = datetime(2026, 3, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def test_it_lies_before_the_beginning_and_so_is_known_as_early() -> None:
    assert goal_before(None, BEGUN) is None
    assert goal_before(BEGUN - timedelta(minutes=3), BEGUN) == BEGUN - timedelta(minutes=3)
    for late in (BEGUN, BEGUN + MICROSECOND, BEGUN + timedelta(days=1)):
        assert goal_before(late, BEGUN) == BEGUN - MICROSECOND
