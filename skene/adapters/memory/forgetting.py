"""Erasing people from memory: goes through everything once, which few verbs do."""

from collections import deque
from dataclasses import replace
from heapq import heapify

from skene.adapters.memory.accounts import digest
from skene.adapters.memory.bills import forget_bills
from skene.adapters.memory.state import Part
from skene.ports.hooks import EventKind
from skene.ports.merging import names_source

__all__ = ["MemoryForgetting"]


class MemoryForgetting(Part):
    """`forget` of the port `Storage`."""

    async def forget(self, subject: str) -> int:
        """Erase a person, and whoever was merged into the person."""
        state = self._state
        into = state.living(subject)
        erased = 0
        if into != subject:
            state.aliases[into].remove(subject)
            erased += self._forget_event_of_merge(into, subject)
        names = (subject, *state.aliases.pop(subject, ()))
        return erased + sum([self._forget_name(name) for name in names])

    def _forget_name(self, subject: str) -> int:
        state = self._state
        erased = self._forget_counts(subject)
        holder = state.holders.pop(subject, None)
        if holder is not None:
            erased += 1
            if holder.customer is not None:
                state.blocked.add(digest(holder.customer))
                erased += state.payers.pop(holder.customer, None) is not None
        for row in [row for row in state.messages.values() if row.draft.subject == subject]:
            state.drop_message(row)
            erased += 1
        state.marketing.pop(subject, None)
        state.converted.pop(subject, None)
        state.spells.pop(subject, None)
        state.opened.pop(subject, None)
        state.standing.pop(subject, None)
        for wall in state.walls.values():
            if wall.wall.subject == subject:
                wall.wall = replace(wall.wall, subject="")
                erased += 1
        for index, conversion in enumerate(state.conversions):
            if conversion.subject == subject:
                state.conversions[index] = replace(conversion, subject="")
                erased += 1
        return erased + self._forget_firings(subject)

    def _forget_counts(self, subject: str) -> int:
        """What is counted and granted, also under the person's name in teams."""
        state = self._state
        erased = sum([table.pop(subject, None) is not None for table in state.counters.values()])
        erased += len(state.keys.pop(subject, ())) + len(state.grants.pop(subject, ()))
        erased += len(state.overrides.pop(subject, ())) + forget_bills(state, subject)
        for name in [name for name in state.counters if _member_of(name[0]) == subject]:
            erased += len(state.counters.pop(name))
            state.bills.pop(name, None)
            erased += len(state.past.pop(name, ()))
        for team, grants in state.grants.items():
            kept = [row for row in grants if _member_of(row.grant.meter) != subject]
            erased += len(grants) - len(kept)
            state.grants[team] = kept
        for team, rows in state.overrides.items():
            left = [row for row in rows if _member_of(row.meter) != subject]
            erased += len(rows) - len(left)
            state.overrides[team] = left
        return erased

    def _forget_event_of_merge(self, into: str, source: str) -> int:
        """What hooks are told of a merge names the source."""
        told = [
            row
            for row in self._state.messages.values()
            if (row.draft.subject, row.draft.template) == (into, EventKind.MERGED)
            and names_source(row.draft.data, source)
        ]
        for row in told:
            self._state.drop_message(row)
        return len(told)

    def _forget_firings(self, subject: str) -> int:
        """Erase what the other loops know of a person; journeys stay, under no name."""
        state = self._state
        erased = sum(step.pop(subject, None) is not None for step in state.recipients.values())
        for row in [row for row in state.firings.values() if row.new.subject == subject]:
            del state.firings[row.new.key]
            state.open_firings.pop(row.id, None)
            erased += 1
        state.lapses = [entry for entry in state.lapses if entry[1] != subject]
        heapify(state.lapses)
        for reason in [reason for reason in state.suppressions if reason[1] == subject]:
            del state.suppressions[reason]
            erased += 1
        kept = deque(row for row in state.log if row.subject != subject)
        erased += len(state.log) - len(kept)
        state.log = kept
        for way in [way for way in state.ways if way[0] == subject]:
            for name in state.ways.pop(way):
                state.journeys[name] = replace(state.journeys[name], subject="")
                erased += 1
        return erased


def _member_of(meter: str) -> str | None:
    """Whose counter `<meter>@<member>` is. An @ in a route's path makes nobody a member."""
    name, _, member = meter.partition("@")
    return member if "/" not in name else None
