"""Another limit held against what memory knows: the latest window of each counter, and billed ones before."""

from collections.abc import Iterator
from datetime import datetime

from skene.adapters.memory.packed import unpack
from skene.adapters.memory.state import Part
from skene.ports.history import Change, WhatIf

__all__ = ["MemoryHistory"]


class MemoryHistory(Part):
    """The port `History`."""

    async def what_if(self, change: Change, since: datetime) -> WhatIf | None:
        """Hold another limit against the windows that were used."""
        state, limit = self._state, change.limit
        windows: dict[str, list[tuple[datetime, int]]] = {}
        for subject, start, used in self._used(change, since):
            windows.setdefault(subject, []).append((start, used))
        own = {
            subject
            for subject, rows in state.overrides.items()
            for row in rows
            if _is_of(change, row.meter)
            and all(end is None or end > since for end in (row.ended_at, row.expires_at))
        }
        granted = {
            subject
            for subject, rows in state.grants.items()
            if any(_is_of(change, row.grant.meter) for row in rows)
        }
        counted = {subject: found for subject, found in windows.items() if subject not in own}
        beyond = {
            subject: over
            for subject, found in counted.items()
            if (
                over := [(start, used - limit) for start, used in found if limit is not None and used > limit]
            )
        }
        paid = {one.subject for one in state.conversions if one.at >= _first(beyond.get(one.subject), one.at)}
        walled = {
            row.wall.subject
            for row in state.walls.values()
            if row.wall.step in change.steps and row.wall.plan == change.plan and row.opened_at >= since
        } - {""}
        return WhatIf(
            subjects=len(counted),
            windows=sum(map(len, counted.values())),
            own_limits=len(windows.keys() & own),
            over_subjects=len(beyond),
            over_windows=sum(map(len, beyond.values())),
            over_units=sum(units for over in beyond.values() for _, units in over),
            over_granted=len(beyond.keys() & granted),
            over_paid=len(beyond.keys() & paid),
            walled=len(walled),
            walled_over=len(walled & beyond.keys()),
            past=False,
        )

    def _used(self, change: Change, since: datetime) -> Iterator[tuple[str, datetime, int]]:
        for (meter, plan), table in self._state.counters.items():
            if plan != change.plan or not _is_of(change, meter):
                continue
            for subject, packed in table.items():
                counter = unpack(packed)
                if counter is not None and counter.end > since and counter.used > 0:
                    yield subject, counter.start, counter.used
            for (subject, start), over in self._state.past.get((meter, plan), {}).items():
                if over.end > since and over.used > 0:
                    yield subject, start, over.used


def _is_of(change: Change, meter: str) -> bool:
    return meter.startswith(f"{change.meter}:/") if change.by_route else meter == change.meter


def _first(over: list[tuple[datetime, int]] | None, otherwise: datetime) -> datetime:
    return min((start for start, _ in over), default=otherwise) if over else otherwise
