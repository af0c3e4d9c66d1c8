"""Storages as careful people write them by hand, each with one thought too few: the controls of proofs."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from skene.adapters.system import SystemClock
from skene.ports.counters import Consume, Counted, Receipt

__all__ = ["CARELESS", "WrongClock"]


class WrongClock(SystemClock):
    """The application's clock, off by `APP_OFF` seconds."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(os.environ.get("APP_OFF", "0")))


wrong_clock = WrongClock()


class _Careless:
    def __init__(self, inner: Any, dsn: str) -> None:
        self._inner, self._dsn = inner, dsn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def spender(self, *_: Any) -> None:
        """Every call is counted the slow way."""

    async def _ask(self, sql: str, *values: Any) -> Any:
        driver = await asyncpg.connect(self._dsn)
        try:
            return await driver.fetchval(sql, *values)
        finally:
            await driver.close()


class LooksUpThenStores(_Careless):
    """Looks a key up, counts, and stores the key; whose key it is, and for what, is not asked."""

    async def consume(self, call: Consume) -> Counted:
        if call.idempotency_key is None:
            counted: Counted = await self._inner.consume(call)
            return counted
        await self._ask("CREATE TABLE IF NOT EXISTS seen (key TEXT)")
        if await self._ask("SELECT true FROM seen WHERE key = $1 LIMIT 1", call.idempotency_key):
            counted = await self._inner.peek(call)
            return replace(counted, admitted=True, replayed=True)
        counted = await self._inner.consume(replace(call, idempotency_key=None, fingerprint=""))
        await self._ask("INSERT INTO seen VALUES ($1)", call.idempotency_key)
        return counted


class TakesOneOff(_Careless):
    """Gives back by taking a number off whatever is counted now."""

    async def refund(self, subject: str, receipts: tuple[Receipt, ...], key: str | None = None) -> None:
        for receipt in receipts:
            await self._ask(
                "UPDATE skene_usage SET used = used - $3 WHERE subject = $1 AND meter = $2",
                subject,
                receipt.meter,
                receipt.cost,
            )


class ResetsByItsClock(_Careless):
    """Begins a new window whenever its own clock shows a time outside the one that is kept."""

    async def consume(self, call: Consume) -> Counted:
        (charge,) = call.charges
        clock = self._inner._clock or wrong_clock  # pyright: ignore[reportPrivateUsage] - what it was given
        now, length = clock.now(), timedelta(seconds=float(os.environ["APP_SECONDS"]))
        used: int = await self._ask(RESET, call.subject, now, now + length)
        counted: Counted = await self._inner.peek(call)
        limit = charge.limits[call.default_plan]
        (tally,) = counted.tallies
        fits = limit is None or used <= limit
        tally = replace(tally, used=used, fits=fits, start=now, end=now + length)
        return replace(counted, admitted=fits, tallies=(tally,))


RESET = """
INSERT INTO by_hand AS held VALUES ($1, $2, $3, 1) ON CONFLICT (subject) DO UPDATE
   SET used = CASE WHEN $2 >= held.start AND $2 < held.ends THEN held.used + 1 ELSE 1 END,
       start = CASE WHEN $2 >= held.start AND $2 < held.ends THEN held.start ELSE $2 END,
       ends = CASE WHEN $2 >= held.start AND $2 < held.ends THEN held.ends ELSE $3 END
RETURNING used
"""

CARELESS: dict[str, Callable[[Any, str], Any]] = {
    "keys": LooksUpThenStores,
    "refunds": TakesOneOff,
    "clocks": ResetsByItsClock,
}
