"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from skene.definitions.units import parse_duration

__all__ = ["ManualClock"]


class ManualClock:
    """A clock in a test's hands; see `ports.clock.Clock`. The same calls give the same ids and chances.

    Args:
        start: the first present, aware.
        seed: what chances are drawn from.

    Raises:
        ValueError: a start without a time zone.
    """

    def __init__(
        self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC), *, seed: int | str = 0
    ) -> None:
        self._now = _utc(start)
        self._seed = seed
        self._ids = 0
        self._chances = 0

    def now(self) -> datetime:
        """The present, as it was last set."""
        return self._now

    def advance(self, by: timedelta | str) -> datetime:
        """Let time pass.

        Args:
            by: a timedelta (a negative one steps back), or a duration such as `1h30m`.

        Returns:
            The new present.

        Raises:
            ValueError: text that is no duration.
        """
        self._now += parse_duration(by) if isinstance(by, str) else by
        return self._now

    def set(self, to: datetime) -> None:
        """Put the clock to an instant, earlier ones included.

        Raises:
            ValueError: an instant without a time zone.
        """
        self._now = _utc(to)

    def new_id(self) -> str:
        """`id-000001`, then `id-000002`: unique among those of one clock."""
        self._ids += 1
        return f"id-{self._ids:06}"

    def chance(self) -> float:
        """The next number of a fixed sequence in [0, 1)."""
        self._chances += 1
        digest = sha256(f"{self._seed}:{self._chances}".encode()).digest()
        return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(
            f"{instant!r} has no time zone; give an aware datetime such as datetime(2026, 1, 1, tzinfo=UTC)"
        )
    return instant.astimezone(UTC)
