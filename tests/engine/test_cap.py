"""How long a person has had enough."""

from datetime import UTC, datetime, timedelta

from skene.engine.cap import SOON, cap_wait, counts_until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_what_is_under_way_counts_for_a_moment_and_what_was_sent_for_the_span() -> None:
    assert counts_until(NOW - timedelta(hours=1), DAY, NOW) == NOW + timedelta(hours=23)
    assert counts_until(None, DAY, NOW) == NOW + SOON
    assert counts_until(None, timedelta(seconds=5), NOW) == NOW + timedelta(seconds=5)


def test_the_next_may_go_when_enough_of_the_others_no_longer_count() -> None:
    ends = [NOW + timedelta(hours=hours) for hours in (3, 1, 2)]
    assert cap_wait(ends, 4, DAY, NOW) is None
    assert [cap_wait(ends, most, DAY, NOW) for most in (3, 2, 1)] == [timedelta(hours=h) for h in (1, 2, 3)]
    assert cap_wait([], 0, DAY, NOW) == DAY  # none is allowed, ever
