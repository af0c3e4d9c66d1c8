"""What SQL says of a subject, as counting needs it."""

import asyncio  # noqa: TID251 - Valkey's client needs its event loop, and so does what asks together
import json
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import anyio
from anyio.lowlevel import RunVar

from skene.adapters.together import Together, Waiting
from skene.adapters.valkey.wire import from_micros, micros
from skene.engine.window import FOREVER, Edges
from skene.errors import StorageUnavailable
from skene.ports.counters import Charge, Consume
from skene.ports.holdings import Holding
from skene.ports.storage import Storage

__all__ = ["Mirrors", "find_wall", "mirror", "whoever"]

_PROBE = "valkey:probe"
"""A counter that nobody counts, asked about to see what else SQL says of a subject."""
_ANSWERED = 1.8
"""Seconds in which a question is answered, with its wait for those that were asked before it."""

_Asking: TypeAlias = Waiting[str, Holding]


class _Here:
    """What belongs to one event loop: those who are asked about, and who is not on the way yet."""

    def __init__(self, fly: Callable[[Sequence[_Asking]], Awaitable[None]]) -> None:
        self.together = Together(fly, undo=_forget, patience=_ANSWERED)
        self.queued: dict[str, asyncio.Task[Holding]] = {}

    def ask(self, subject: str) -> "asyncio.Task[Holding]":
        """The question about a subject that all who ask meanwhile share."""
        asked = self.queued.get(subject)
        if asked is None:
            asked = self.queued[subject] = asyncio.ensure_future(self.together.send(subject))
            asked.add_done_callback(partial(self._heard, subject))
        return asked

    def off(self, aboard: Sequence[_Asking]) -> None:
        """Whoever asks from now on wants to know what is so later."""
        for waiting in aboard:
            self.queued.pop(waiting.item, None)

    def _heard(self, subject: str, asked: "asyncio.Task[Holding]") -> None:
        if self.queued.get(subject) is asked:  # it was turned away, and never on the way
            del self.queued[subject]
        if not asked.cancelled():
            asked.exception()  # it is told to those who wait; perhaps nobody does any more


class Mirrors:
    """Reads what SQL says, in one go for all subjects that are asked about at the same time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._loops: RunVar[_Here] = RunVar("skene_valkey_mirrors")

    async def look_up(self, subject: str) -> Holding:
        """Read what holds for a subject: at an instant after this was asked.

        Raises:
            StorageUnavailable: SQL does not answer.
        """
        asked = self._here().ask(subject)
        try:
            with anyio.fail_after(_ANSWERED):
                return await asyncio.shield(asked)  # others may wait for it, too
        except TimeoutError:
            raise StorageUnavailable(f"SQL did not answer within {_ANSWERED} s") from None
        except StorageUnavailable as error:
            raise error.with_traceback(None)  # noqa: B904 - shared by all who asked: it must not grow

    async def aclose(self) -> None:
        """Wait until what was asked is answered."""
        try:
            here = self._loops.get()
        except LookupError:
            return
        with anyio.move_on_after(_ANSWERED, shield=True):
            await here.together.aclose()

    def _here(self) -> _Here:
        try:
            return self._loops.get()
        except LookupError:
            here = _Here(self._fly)
            self._loops.set(here)
            return here

    async def _fly(self, aboard: Sequence[_Asking]) -> None:
        self._here().off(aboard)
        await self._read(aboard)

    async def _read(self, aboard: Sequence[_Asking]) -> None:
        try:
            found = await self._storage.holdings([waiting.item for waiting in aboard])
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one of them cannot be read: raised to who asked for it
            if len(aboard) == 1:
                aboard[0].fail(error)
                return
            for waiting in aboard:
                await self._read((waiting,))
        else:
            for waiting, holding in zip(aboard, found, strict=True):
                waiting.settle(holding)


async def _forget(subject: str, holding: Holding) -> None:
    """Nobody waits for it any more, and nothing was changed."""


def mirror(holding: Holding, at: str) -> str:
    """What holds, as the function in the server reads it.

    Args:
        holding: what SQL says.
        at: an instant before it was asked, by Valkey's clock.
    """
    told: dict[str, Any] = {"at": at, "features": holding.features, "cycle": [], "own": {}}
    if holding.plan is not None:
        told["plan"] = holding.plan
    if holding.until is not None:
        told["ends"] = micros(holding.until)
    if holding.customer is not None:
        told["customer"] = holding.customer
    if holding.checked_at is not None:
        told["checked"] = micros(holding.checked_at)
    if holding.cycle:
        # Of its edges those around now, until they do not lie around it any more; and one more, for a turn
        # between now and the charge.
        last = bisect_right(holding.cycle, from_micros(at))
        edges = holding.cycle[max(0, last - 1) : last + 2]
        told["cycle"] = [micros(edge) for edge in edges]
        told["turns"] = micros(holding.cycle[last] if last < len(holding.cycle) else FOREVER)
    for meter, own in holding.limits.items():
        limit = "" if own.limit is None else str(own.limit)
        told["own"][meter] = [limit, "" if own.until is None else micros(own.until)]
    # SQL knows of what was spent before the subject was counted here.
    told["pots"] = [
        [
            one.key,
            one.meter,
            str(one.left),
            "" if one.expires_at is None else micros(one.expires_at),
            one.number,
        ]
        for one in holding.grants
    ]
    return json.dumps(told)


async def whoever(storage: Storage, subject: str) -> str:
    """Whom a subject counts as."""
    (holding,) = await storage.holdings((subject,))
    return holding.subject


async def find_wall(storage: Storage, subject: str, step: str, plan: str) -> str | None:
    """The id of the wall that stands for a step and plan, or None."""
    refused = Charge(step, _PROBE, 1, {plan: 0}, Edges(()), watched=True)
    (tally,) = (await storage.peek(Consume(subject, plan, (refused,)))).tallies
    return tally.wall
