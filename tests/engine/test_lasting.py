from datetime import UTC, datetime, timedelta

import pytest

from skene.engine.lasting import end_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires", "ends"),
    [
        (None, None),
        (timedelta(days=1), datetime(2026, 3, 2, 12, tzinfo=UTC)),
        (datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_length_counts_from_now_and_an_instant_stands(
    expires: timedelta | datetime | None, ends: datetime | None
) -> None:
    assert end_of(expires, NOW) == ends
