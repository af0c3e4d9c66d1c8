"""When paying is said to have begun."""

from datetime import UTC, datetime, timedelta

import pytest

from skene.engine.spells import conversion_date

NOW = datetime(2026, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("started_at", "lapse", "date"),
    [
        (None, None, NOW),
        (NOW - 400 * DAY, None, NOW - 400 * DAY),
        (NOW, None, NOW),
        (NOW + DAY, None, NOW),
        (NOW - 3 * DAY, NOW - 5 * DAY, NOW - 3 * DAY),
        (NOW - 5 * DAY, NOW - 5 * DAY, NOW - 5 * DAY),
        (NOW - 9 * DAY, NOW - 5 * DAY, NOW),
    ],
)
def test_the_date_of_a_conversion(
    started_at: datetime | None, lapse: datetime | None, date: datetime
) -> None:
    assert conversion_date(started_at, lapse, NOW) == date
