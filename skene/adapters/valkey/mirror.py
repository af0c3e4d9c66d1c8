"""What SQL says of a subject, as counting needs it."""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import RunVar

from skene.adapters.at_once import at_once
from skene.adapters.valkey.wire import micros
from skene.engine.window import EPOCH, FOREVER, Edges
from skene.ports.counters import Charge, Consume, Counted
from skene.ports.storage import Storage

__all__ = ["Mirror", "Mirrors", "find_wall", "whoever"]

_PROBE = "valkey:probe"
"""A counter that nobody counts, asked about to see what holds for everything of a subject."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What SQL said.

    Attributes:
        subject: who is counted: the one asked about, or whom that one was merged into.
        text: the rest, as the function in the server reads it.
    """

    subject: str
    text: str


@dataclass(slots=True)
class _Flight:
    """A reading that is under way."""

    landed: anyio.Event
    mirror: Mirror | None = None


class Mirrors:
    """Reads what SQL says, once for all who ask at the same time: of a busy subject many do."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._loops: RunVar[dict[tuple[str, ...], _Flight]] = RunVar("skene_valkey_flights")

    async def look_up(self, subject: str, default_plan: str, version: str, at: str) -> Mirror:
        """Read what holds for a subject now.

        Args:
            subject: who is asked about.
            default_plan: the plan of those who hold none.
            version: of what SQL says; if another one has come since, nobody will take what is read.
            at: an instant before now, by Valkey's clock: what is read is at least so new.
        """
        try:
            flights = self._loops.get()
        except LookupError:
            flights = dict[tuple[str, ...], _Flight]()
            self._loops.set(flights)
        name = (subject, default_plan, version)
        while (flight := flights.get(name)) is not None:
            await flight.landed.wait()
            if flight.mirror is not None:
                return flight.mirror
        flight = flights[name] = _Flight(anyio.Event())
        try:
            flight.mirror = await _look_up(self._storage, subject, default_plan, at)
            return flight.mirror
        finally:
            del flights[name]
            flight.landed.set()


async def _look_up(storage: Storage, subject: str, default_plan: str, at: str) -> Mirror:
    seen: list[Counted] = []
    mirror: dict[str, Any] = {"at": at, "features": [], "cycle": [], "own": {}, "pots": []}

    async def read_holding() -> None:
        cycle = Charge("", _PROBE, 1, {default_plan: None}, Edges((), billing_cycle=True))
        counted = await storage.peek(Consume(subject, default_plan, (cycle,)))
        seen.append(counted)
        held = counted.held_plan or counted.plan
        mirror["plan"] = held
        if counted.checked_at is not None:
            mirror["checked"] = micros(counted.checked_at)
        (tally,) = counted.tallies
        mirror["cycle"] = [micros(edge) for edge in (tally.start, tally.end) if edge not in (EPOCH, FOREVER)]
        mirror["turns"] = micros(tally.end)
        if counted.customer is not None or held != default_plan:
            await _read_customer(storage, subject, held, mirror)

    await at_once(
        read_holding,
        partial(_read_overrides, storage, subject, mirror),
        partial(_read_grants, storage, subject, mirror),
    )
    return Mirror(seen[0].subject, json.dumps(mirror))


async def _read_customer(storage: Storage, subject: str, held: str, mirror: dict[str, Any]) -> None:
    known = await storage.get_customer(subject)
    if known is None:
        return
    if known.customer is not None:
        mirror["customer"] = known.customer
    mirror["features"] = list(known.features)
    if known.until is not None and known.plan == held:
        mirror["ends"] = micros(known.until)


async def _read_overrides(storage: Storage, subject: str, mirror: dict[str, Any]) -> None:
    for one in await storage.overrides(subject):
        if one.ended_at is None:
            limit = "" if one.limit is None else str(one.limit)
            mirror["own"][one.meter] = [limit, "" if one.expires_at is None else micros(one.expires_at)]


async def _read_grants(storage: Storage, subject: str, mirror: dict[str, Any]) -> None:
    # SQL knows of what was spent before the subject was counted here.
    mirror["pots"] = [
        [
            one.key,
            one.meter,
            str(one.units - one.spent),
            "" if one.expires_at is None else micros(one.expires_at),
            number,
        ]
        for number, one in enumerate(await storage.grants(subject))
        if one.spent < one.units
    ]


async def whoever(storage: Storage, subject: str) -> str:
    """Whom a subject counts as."""
    nothing = Charge("", _PROBE, 1, {"": None}, Edges(()))
    return (await storage.peek(Consume(subject, "", (nothing,)))).subject


async def find_wall(storage: Storage, subject: str, step: str, plan: str) -> str | None:
    """The id of the wall that stands for a step and plan, or None."""
    refused = Charge(step, _PROBE, 1, {plan: 0}, Edges(()), watched=True)
    (tally,) = (await storage.peek(Consume(subject, plan, (refused,)))).tallies
    return tally.wall
