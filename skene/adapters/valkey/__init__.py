"""Counting in Valkey, or Redis: for teams that run one already. Everything else stays in SQL."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio

from skene.adapters.undoing import unless_cancelled
from skene.adapters.valkey import erasing, wire
from skene.adapters.valkey.beside import Beside
from skene.adapters.valkey.billing import Reports
from skene.adapters.valkey.kept import Kept
from skene.adapters.valkey.mirror import Mirrors, find_wall, mirror, whoever
from skene.adapters.valkey.moving import Moving
from skene.adapters.valkey.scripts import CONSUME, NOTICE, REFUND
from skene.adapters.valkey.servers import Servers
from skene.errors import IdempotencyConflict, StorageUnavailable
from skene.ports.clock import Clock
from skene.ports.counters import BilledUse, Consume, Counted, Draft, Notice, Receipt, Tally
from skene.ports.firings import Watcher
from skene.ports.grants import Granted
from skene.ports.holdings import Holding
from skene.ports.merging import Merged
from skene.ports.storage import Storage

if TYPE_CHECKING:
    from valkey.asyncio import Valkey

__all__ = ["ValkeyStorage"]

_HOPS = 20
"""How often a call is sent on, or waits for something to be read, before it is given up."""


class ValkeyStorage(Beside):
    """The port `Storage`: counters and idempotency keys in Valkey, everything else in another storage.

    A decision is one function inside the server, and one round trip. What the other storage says of a subject
    (plan, features, own limits, grants) is remembered beside its counters for `believed` at most, and read
    anew before anybody is refused. What Valkey loses is forgotten: with its usual settings, up to a second of
    use when a server crashes, and what a replica had not heard of when it takes over.

    Args:
        url_or_client: `valkey://host:6379`, `valkeys://` (TLS), `unix:///path`, `redis://` or `rediss://`, of
            one server or of any node of a cluster; or a `valkey.asyncio.Valkey` of one server.
        storage: keeps everything else.
        clock: where time comes from; the server that counts if left out. Give the same to `storage`.
        prefix: what all keys begin with, in braces.
        connections: how many calls of this process may be under way at once; more wait.
        timeout: how long any answer of Valkey's may take; the port promises one within 2 s.
        believed: how old what SQL said of a subject may be when somebody is let through.

    Raises:
        ConfigurationError: an address that is not Valkey's, or another kind of client.
    """

    def __init__(
        self,
        url_or_client: "str | Valkey",
        *,
        storage: Storage,
        clock: Clock | None = None,
        prefix: str = "skene",
        connections: int = 32,
        timeout: timedelta = timedelta(seconds=1.8),
        believed: timedelta = timedelta(seconds=60),
    ) -> None:
        self._servers = Servers(url_or_client, connections=connections, seconds=timeout.total_seconds())
        kept = Kept(self._servers, prefix, clock)
        super().__init__(storage, kept)
        self._mirrors = Mirrors(storage)
        self._reports = Reports(kept, storage)
        self._moving = Moving(kept, storage, self._reports)
        self._lasts = str(believed // timedelta(microseconds=1))

    def __repr__(self) -> str:
        return f"ValkeyStorage(…, storage={self._storage!r})"

    async def start(self) -> None:
        """Connect, to both. May be called again.

        Raises:
            ConfigurationError: Valkey does not let skene in, or would throw counters away.
            SchemaOutdated: as the other storage says.
            StorageUnavailable: one of the two cannot be reached.
        """
        try:
            await self._servers.start()
            await self._storage.start()
        except BaseException:
            await self._servers.aclose()
            raise

    async def aclose(self) -> None:
        """Release everything. May be called twice; the next use connects again."""
        await self._mirrors.aclose()
        await self._servers.aclose()
        await self._storage.aclose()

    # --- counters ---

    async def consume(self, call: Consume) -> Counted:
        """Charge a call if every one of its counters admits it, in one round trip."""
        with anyio.fail_after(None, shield=True):  # each of its steps ends in time
            counted = await self._decide(call, spend=True)
        return await unless_cancelled(self, call, counted)

    async def peek(self, call: Consume) -> Counted:
        """What `consume` would answer now, without charging."""
        return await self._decide(call, spend=False)

    async def _decide(self, call: Consume, *, spend: bool) -> Counted:
        subject, alone, brought, version = call.subject, False, "", ""
        for _ in range(_HOPS):
            asked = wire.request(
                call, subject, self._kept.instant(), spend=spend, alone=alone, lasts=self._lasts
            )
            kind, *rest = await self._kept.run(CONSUME, subject, asked, brought, version)
            brought = ""
            match kind:
                case "counted":
                    return await self._answer(call, subject, json.loads(rest[0]))
                case "conflict":
                    raise IdempotencyConflict("this idempotency key was used for a different request")
                case "moved":
                    subject = rest[0]
                case "merging":
                    await self._moving.finish(subject, rest[0])
                    alone = True
                case _:
                    version, at, into = rest
                    holding = await self._mirrors.look_up(subject)
                    if holding.subject != subject:
                        await self._moving.move(subject, holding.subject)
                        subject = holding.subject
                        continue
                    if into:  # it was merged into somebody who is forgotten
                        await self._kept.swap(subject, wire.change(expect={"into": into}, gone=("into",)))
                    brought = mirror(holding, at)
        raise StorageUnavailable("what holds for this subject changes all the time")

    async def _answer(self, call: Consume, subject: str, told: list[Any]) -> Counted:
        admitted, replayed, now, held, customer, checked, rows = told
        known = held == call.default_plan or any(held in item.limits for item in call.charges)
        tallies: list[Tally] = []
        for item, row in zip(call.charges, rows, strict=True):
            plan, limit, used, fits, start, end, notices, wall, at, granted = row
            if not fits and not wall:
                wall = await self._find_wall(subject, item.step, plan)
            tallies.append(
                Tally(
                    item,
                    int(limit) if limit else None,
                    int(used),
                    fits,
                    wire.from_micros(start),
                    wire.from_micros(end),
                    tuple(notices),
                    wall or None,
                    Receipt(item.meter, plan, wire.from_micros(at), item.cost) if at else None,
                    int(granted),
                )
            )
        return Counted(
            admitted,
            replayed,
            wire.from_micros(now),
            held if known else call.default_plan,
            None if known else held,
            customer or None,
            wire.from_micros(checked) if checked else None,
            tuple(tallies),
            subject,
        )

    async def _find_wall(self, subject: str, step: str, plan: str) -> str | None:
        """The wall that stands, from SQL; remembered for the next refusal."""
        found = await find_wall(self._storage, subject, step, plan)
        wall = await self._storage.get_wall(found) if found is not None else None
        if wall is not None:
            field = wire.named("w", step, plan)
            kept = json.dumps([wall.id, wire.micros(wall.window_end)])
            await self._kept.swap(subject, wire.change(put={field: kept}, there=True))
        return found

    async def meters(self, subject: str) -> tuple[str, ...]:
        """The names of all counters that are kept for a subject."""
        who = await self._living(subject)
        counted = [name for name in await self._kept.names(who) if name.startswith("c:")]
        return tuple(sorted({wire.split(name)[0] for name in counted}))

    async def _living(self, subject: str) -> str:
        (into,) = await self._kept.fields(subject, ["into"])
        return str(json.loads(into)[0]) if into else subject

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units, and free the key."""
        told: dict[str, Any] = {"receipts": wire.told_receipts(receipts)}
        if idempotency_key is not None:
            told["key"] = idempotency_key
        for _ in range(_HOPS):
            kind, *rest = await self._kept.run_told(REFUND, subject, told)
            if kind == "done":
                return
            subject, told["merged_at"], _ = json.loads(rest[0])
        raise StorageUnavailable("this subject is merged all the time")

    async def record_notice(self, notice: Notice) -> bool:
        """Record warnings for a running window and their messages, once.

        The messages first, which the outbox takes once: after one that was stopped in between, the next does
        both again.
        """
        subject = notice.subject
        told: dict[str, Any] = {
            "meter": notice.meter,
            "plan": notice.plan,
            "start": wire.micros(notice.window_start),
            "names": notice.names,
        }
        for _ in range(_HOPS):
            kind, *rest = await self._kept.run_told(NOTICE, subject, told)
            if kind == "moved":
                subject = json.loads(rest[0])[0]
            elif kind == "known" or "keep" in told:
                return bool(kind == "new")
            else:
                await self._storage.post(notice.drafts)
                told["keep"] = True
        raise StorageUnavailable("this subject is merged all the time")

    async def report_billed(self, use: BilledUse, limit: int) -> int:
        """Put reports of billed use into the outbox, at most `limit`."""
        return await self._reports.report(use, limit)

    # --- what is kept on both sides ---

    async def holdings(self, subjects: Sequence[str]) -> tuple[Holding, ...]:
        """What counting must know of some subjects, in their order."""
        found = await self._storage.holdings(subjects)
        return tuple([await self._after_spending(one) if one.grants else one for one in found])

    async def _after_spending(self, holding: Holding) -> Holding:
        spent = await self._spent(holding.subject, [one.key for one in holding.grants])
        left = [replace(one, left=one.left - units) for one, units in zip(holding.grants, spent, strict=True)]
        return replace(holding, grants=tuple(one for one in left if one.left > 0))

    async def _spent(self, subject: str, keys: Sequence[str]) -> list[int]:
        """What was spent here of a subject's grants."""
        pots = await self._kept.fields(subject, [f"s:{key}" for key in keys])
        return [int(json.loads(pot)[1]) if pot else 0 for pot in pots]

    async def grants(self, subject: str) -> tuple[Granted, ...]:
        """All grants of a subject, oldest first."""
        found = await self._storage.grants(subject)
        who = found[0].subject if found else subject
        spent = await self._spent(who, [one.key for one in found])
        return tuple(
            replace(one, spent=one.spent + units) if units else one
            for one, units in zip(found, spent, strict=True)
        )

    async def merge(
        self,
        source: str,
        target: str,
        *,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        drafts: tuple[Draft, ...] = (),
    ) -> Merged:
        """Make everything of one subject another one's: in SQL in one transaction, then in Valkey in steps.

        It is announced first, so that whoever counts the target finishes what was begun.
        """
        expected = await whoever(self._storage, target)
        await self._moving.announce(source, expected)
        try:
            merged = await self._storage.merge(source, target, watchers=watchers, hooks=hooks, drafts=drafts)
        except ValueError:
            await self._moving.withdraw(source, expected)
            raise
        moved = await self._moving.move(source, merged.subject)
        await self._kept.changed(source, merged.subject)
        await self._moving.withdraw(source, expected)
        # Of several at once, the one that came first in SQL has done it, whoever has carried the parcel.
        return replace(merged, moved=merged.moved + moved) if merged.first else merged

    async def forget(self, subject: str) -> int:
        """Erase a person."""
        erased = await self._storage.forget(subject)
        return erased + await erasing.forget(self._kept, subject)

    async def prune(self) -> int:
        """Delete what is only needed for a time."""
        return await self._storage.prune() + await self._kept.prune()
