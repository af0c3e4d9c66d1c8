"""What is kept of subjects in Valkey: reading it, and changing it in one step or not at all."""

import json
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any

from skene.adapters.valkey import wire
from skene.adapters.valkey.scripts import CHANGED, EXPIRED, PRUNE, SWAP, Script
from skene.adapters.valkey.servers import Servers
from skene.ports.clock import Clock
from skene.ports.retention import KEYS_LAST, PRUNED_AT_ONCE

__all__ = ["Kept"]

_AT_ONCE = 128
"""Buckets that are read in one go."""
_PRUNED = 1000
"""Keys that are deleted in one step: nobody waits for long."""


class Kept:
    """Subjects' hashes, by their names.

    Args:
        servers: where they are.
        prefix: what all keys begin with.
        clock: where time comes from; None: the server.
    """

    def __init__(self, servers: Servers, prefix: str, clock: Clock | None) -> None:
        self._servers, self._prefix, self._clock = servers, prefix, clock

    def instant(self) -> str | None:
        """What time it is by the injected clock; None: the function asks the server."""
        return None if self._clock is None else wire.micros(self._clock.now())

    async def now(self) -> datetime:
        """What time it is."""
        if self._clock is not None:
            return self._clock.now()
        seconds, more = await self._servers.ask("TIME")
        return wire.from_micros(str(int(seconds) * 1_000_000 + int(more)))

    async def run(self, script: Script, subject: str, *args: str) -> list[Any]:
        """Run a function about a subject."""
        return await self._servers.run(script, wire.keys_of(self._prefix, subject), *args)

    async def run_told(self, script: Script, subject: str, told: dict[str, Any]) -> list[Any]:
        """Run one that takes a JSON object; it learns the subject and the time, too."""
        now = self.instant()
        return await self.run(
            script, subject, json.dumps({**told, "subject": subject, **({} if now is None else {"now": now})})
        )

    async def fields(self, subject: str, names: Sequence[str]) -> list[str]:
        """Some fields of a subject; '' is missing."""
        state = wire.keys_of(self._prefix, subject)[0]
        found: list[bytes | None] = await self._servers.ask("HMGET", state, *names) if names else []
        return [_text(one) for one in found]

    async def names(self, subject: str) -> list[str]:
        """The names of all fields of a subject."""
        return [
            _text(one) for one in await self._servers.ask("HKEYS", wire.keys_of(self._prefix, subject)[0])
        ]

    async def swap(self, subject: str, change: str) -> bool:
        """Make a change, see `wire.change`. False: it was not as expected, and nothing was changed."""
        (answer,) = await self.run(SWAP, subject, change, subject)
        return bool(answer == "swapped")

    async def prune(self) -> int:
        """Delete idempotency keys and counters that are not needed any more. Returns how many."""
        return await self._prune_keys() + await self._prune_counters()

    async def _prune_counters(self) -> int:
        pruned, now = 0, wire.micros(await self.now())
        ends = [wire.named_bucket(self._prefix, bucket, "ends") for bucket in range(wire.BUCKETS)]
        counted = await self._servers.ask_all([("ZCOUNT", key, "-inf", now) for key in ends])
        for key in [key for key, count in zip(ends, counted, strict=True) if count]:
            most = str(PRUNED_AT_ONCE)
            for entry in await self._servers.ask("ZRANGEBYSCORE", key, "-inf", now, "LIMIT", "0", most):
                subject, _, field = _text(entry).partition("\0")
                (gone,) = await self.run_told(EXPIRED, subject, {"field": field})
                pruned += gone
            if pruned >= PRUNED_AT_ONCE:
                break
        return pruned

    async def _prune_keys(self) -> int:
        pruned, now = 0, self.instant() or ""
        old = wire.micros(await self.now() - KEYS_LAST)
        ages = [wire.named_bucket(self._prefix, bucket, "ages") for bucket in range(wire.BUCKETS)]
        counted = await self._servers.ask_all([("ZCOUNT", key, "-inf", old) for key in ages])
        for bucket in [bucket for bucket, count in enumerate(counted) if count]:
            keys = [wire.named_bucket(self._prefix, bucket, kind) for kind in ("keys", "ages")]
            gone = _PRUNED
            while gone == _PRUNED:
                (gone,) = await self._servers.run(PRUNE, keys, now, str(_PRUNED))
                pruned += gone
        return pruned

    async def changed(self, *subjects: str) -> None:
        """SQL says something else of subjects, and of those they were merged into: it is to be read anew."""
        for subject in subjects:
            (into,) = await self.run(CHANGED, subject)
            if into:
                await self.run(CHANGED, into)

    async def of_all(self, kind: str, begins: str, page: int) -> AsyncGenerator[str, None]:
        """What is kept for all subjects, bucket by bucket: entries that begin with a text, in their order."""
        for first in range(0, wire.BUCKETS, _AT_ONCE):
            keys = [wire.named_bucket(self._prefix, n, kind) for n in range(first, first + _AT_ONCE)]
            after = dict.fromkeys(keys, f"[{begins}")
            while after:
                ends = f"({begins}\uffff"
                commands = [
                    ("ZRANGEBYLEX", key, start, ends, "LIMIT", "0", str(page)) for key, start in after.items()
                ]
                found = await self._servers.ask_all(commands)
                pages = [[_text(one) for one in entries] for entries in found]
                full = zip(after, pages, strict=True)
                after = {key: f"({entries[-1]}" for key, entries in full if len(entries) == page}
                for entries in pages:
                    for entry in entries:
                        yield entry


def _text(told: bytes | str | None) -> str:
    return told.decode() if isinstance(told, bytes) else told or ""
