"""What SQL says of a subject, as counting needs it."""

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from anyio.lowlevel import RunVar

from skene.adapters.together import Together, Waiting
from skene.adapters.valkey.wire import from_micros, micros
from skene.engine.window import EPOCH, FOREVER, Edges, window_at
from skene.ports.counters import Charge, Consume
from skene.ports.holdings import Holding
from skene.ports.storage import Storage

__all__ = ["Mirrors", "find_wall", "mirror", "whoever"]

_PROBE = "valkey:probe"
"""A counter that nobody counts, asked about to see what else SQL says of a subject."""
_CYCLE = Edges((), billing_cycle=True)
_PATIENCE = 0.5
"""Seconds that a question waits for those asked before it."""

_Asking: TypeAlias = Waiting[str, Holding]


class Mirrors:
    """Reads what SQL says, in one go for all subjects that are asked about at the same time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._loops: RunVar[Together[str, Holding]] = RunVar("skene_valkey_mirrors")

    async def look_up(self, subject: str) -> Holding:
        """Read what holds for a subject: at an instant after this was asked.

        Raises:
            StorageUnavailable: SQL does not answer.
        """
        try:
            together = self._loops.get()
        except LookupError:
            together = Together(self._fly, undo=_forget, patience=_PATIENCE)
            self._loops.set(together)
        return await together.send(subject)

    async def aclose(self) -> None:
        """Wait until what was asked is answered."""
        try:
            together = self._loops.get()
        except LookupError:
            return
        await together.aclose()

    async def _fly(self, aboard: Sequence[_Asking]) -> None:
        subjects = list(dict.fromkeys(waiting.item for waiting in aboard))  # of a busy one, many ask
        found = dict(zip(subjects, await self._storage.holdings(subjects), strict=True))
        for waiting in aboard:
            waiting.settle(found[waiting.item])


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
    if holding.cycle:  # of its edges those around now, until they do not lie around it any more
        edges = window_at(_CYCLE, from_micros(at), holding.cycle)
        told["cycle"] = [micros(edge) for edge in edges if edge not in (EPOCH, FOREVER)]
        told["turns"] = micros(edges[1])
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
