"""How long to wait before another attempt."""

from datetime import timedelta

from skene.definitions import Recovery

__all__ = ["next_delay"]


def next_delay(
    recovery: Recovery, failures: int, *, chance: float, retry_after: timedelta | None = None
) -> timedelta | None:
    """The wait after the latest of `failures` failed attempts.

    Full jitter: the wait is anywhere between zero and the ceiling, so that many messages do not come back at
    once.

    Args:
        recovery: `retries` additional attempts, `base` and `cap` of the wait.
        failures: failed attempts so far, at least 1.
        chance: a random number in [0, 1).
        retry_after: what the provider asked for; never waited less.

    Returns:
        The wait, or None when no attempt is left.
    """
    if failures > recovery.retries:
        return None
    base, cap = recovery.base, recovery.cap
    grown = base * (failures if recovery.backoff == "linear" else 2 ** min(failures - 1, 32))
    wait = base if recovery.backoff == "fixed" else min(cap, grown) * chance
    return max(wait, retry_after) if retry_after is not None else wait
