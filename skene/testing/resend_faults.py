"""How the local Resend fails: the next few requests, or a share of all of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count

__all__ = ["Fault", "Faults"]


@dataclass(slots=True)
class Fault:
    """An answer that is no success; `json` False is one that does not come from Resend itself."""

    status: int
    name: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    json: bool = True


@dataclass(frozen=True, slots=True)
class _Rates:
    busy: float = 0.0
    broken: float = 0.0
    dropped: float = 0.0
    retry_after: str = "1"


class Faults:
    """What was asked to fail: first the requests that were told one by one, then the shares."""

    def __init__(self) -> None:
        self._next: list[Fault] = []
        self._drops = 0
        self._rates = _Rates()
        self._chances = _chances(0)

    def fail_next(self, fault: Fault, times: int) -> None:
        """Let the next requests get this answer."""
        self._next += [fault] * times

    def drop_next(self, times: int) -> None:
        """Let the answers to the next accepted e-mails break off."""
        self._drops += times

    def share(self, busy: float, broken: float, dropped: float, retry_after: str, seed: int) -> None:
        """Let shares of all requests fail, in an order that follows from the seed.

        Raises:
            ValueError: a share is not from 0 to 1, or two that exclude each other are more than 1 together.
        """
        if not all(0 <= rate <= 1 for rate in (busy, broken, dropped, busy + broken)):
            raise ValueError("shares are from 0 to 1, and rate_429 and rate_500 at most 1 together")
        self._rates = _Rates(busy, broken, dropped, retry_after)
        self._chances = _chances(seed)

    def before(self) -> Fault | None:
        """The answer that this request gets before anything is accepted, if any."""
        if self._next:
            return self._next.pop(0)
        rates = self._rates
        if not rates.busy and not rates.broken:
            return None
        chance = next(self._chances)
        if chance < rates.busy:
            return Fault(429, "rate_limit_exceeded", {"retry-after": rates.retry_after})
        return Fault(500, "application_error") if chance < rates.busy + rates.broken else None

    def after(self, *, accepted: bool) -> bool:
        """Whether the answer breaks off; `accepted` says that it is the first one for its e-mail."""
        if accepted and self._drops > 0:
            self._drops -= 1
            return True
        return self._rates.dropped > 0 and next(self._chances) < self._rates.dropped


def _chances(seed: int) -> Iterator[float]:
    """Numbers from 0 up to 1, evenly spread, the same for the same seed."""
    for number in count():
        yield int.from_bytes(sha256(f"{seed}:{number}".encode()).digest()[:8], "big") / 2**64
