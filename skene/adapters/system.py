"""The real clock: the one place that reads the time and draws ids and chance."""

import random
import secrets
import time
from base64 import b32hexencode
from datetime import UTC, datetime, timedelta

__all__ = ["SystemClock"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_chance = random.SystemRandom()


class SystemClock:
    """This machine's clock and its source of randomness; see `ports.clock.Clock`."""

    ticks = time
    """`time_ns` of it is the present in nanoseconds since 1970, in a third of the time that `now` takes."""

    def now(self) -> datetime:
        """The present, aware UTC."""
        return datetime.now(UTC)

    def new_id(self) -> str:
        """32 characters of `[0-9a-v]`: the microsecond, so that ids sort by time, then 96 random bits."""
        micros = (self.now() - _EPOCH) // _MICROSECOND
        return b32hexencode(micros.to_bytes(8, "big") + secrets.token_bytes(12)).decode().lower()

    def chance(self) -> float:
        """A random number in [0, 1)."""
        return _chance.random()
