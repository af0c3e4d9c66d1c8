"""Asking the billing service before a customer is refused, without ever making others wait for it."""

from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Protocol

from skene.errors import BillingUnavailable, StorageUnavailable
from skene.ports.accounts import Applied
from skene.ports.counters import Counted
from skene.runtime.parts import Parts
from skene.runtime.single import SingleFlight

__all__ = ["LookUps"]

EVERY = timedelta(seconds=60)
"""How often at most the billing service is asked about one subject that is about to be refused."""
TIMEOUT = timedelta(seconds=2)
AT_ONCE = 8
"""How many requests of one process may wait for the billing service at the same time."""
PAUSE = timedelta(seconds=10)
"""How long nobody is looked up after the billing service gave no answer; then one request tries it again."""


class Sync(Protocol):
    """Brings a customer's plan up to date; see `runtime.webhooks`."""

    def __call__(self, customer: str, *, timeout: timedelta) -> Awaitable[Applied | None]: ...


class LookUps:
    """Looks refused customers up: they may have paid, and the webhook been lost.

    While the billing service does not answer, the last known plan stands at once: only a few requests find
    out, and the others do not wait.
    """

    def __init__(self, parts: Parts, sync: Sync) -> None:
        self._parts = parts
        self._sync = sync
        self._single = SingleFlight()
        self._under_way = 0
        self._failed_at: datetime | None = None

    async def learned_of_payment(self, counted: Counted) -> bool:
        """Whether asking has brought something new, so that the call is worth another try.

        Each subject is looked up at most once a minute over all processes. Never raises for a failure.

        Raises:
            StorageUnavailable: the storage is away, not the billing service.
        """
        if counted.customer is None:
            return False
        if counted.checked_at is not None and counted.now - counted.checked_at < EVERY:
            return False
        return await self._single.share(counted.subject, lambda: self._look_up(counted.subject))

    async def _look_up(self, subject: str) -> bool:
        if self._under_way >= (AT_ONCE if self._failed_at is None else 1) or self._pausing():
            return False  # not claimed: the next call of this subject may be the one
        self._under_way += 1
        try:
            customer = await self._parts.storage.claim_lookup(subject, EVERY)
            return customer is not None and await self._ask(customer)
        finally:
            self._under_way -= 1

    async def _ask(self, customer: str) -> bool:
        try:
            applied = await self._sync(customer, timeout=TIMEOUT)
        except BillingUnavailable as error:
            self._failed_at = self._parts.clock.now()
            self._warn(error)
            return False
        except StorageUnavailable as error:
            self._warn(error)
            return False
        self._failed_at = None
        return applied is not None

    def _pausing(self) -> bool:
        if self._failed_at is None:
            return False
        # A clock that was set back does not prolong the pause.
        return timedelta(0) <= self._parts.clock.now() - self._failed_at < PAUSE

    def _warn(self, error: Exception) -> None:
        self._parts.log.warning("customer could not be looked up, last known plan stands: %s", error)
