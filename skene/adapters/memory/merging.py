"""Merging in memory: goes through everything once."""

from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappush

from skene.adapters.memory.accounts import MemoryAccounts
from skene.adapters.memory.bills import keep_past
from skene.adapters.memory.overrides import MemoryOverrides
from skene.adapters.memory.packed import pack, unpack
from skene.adapters.memory.spells import Terms, end_spell
from skene.adapters.memory.state import Holder, MessageRow, PastWindow, Recipient
from skene.engine.bill import Bill
from skene.engine.merging import Billing, Meter, bring_together, other_key, unite
from skene.ports.counters import Draft
from skene.ports.firings import Watcher
from skene.ports.merging import ASKED_ALREADY, Merged
from skene.ports.outbox import PERHAPS_SENT, MessageState

__all__ = ["MemoryMerging"]


class MemoryMerging(MemoryOverrides, MemoryAccounts):
    """The port `Merging`."""

    async def merge(
        self,
        source: str,
        target: str,
        *,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        drafts: tuple[Draft, ...] = (),
    ) -> Merged:
        """Make everything of one subject another one's."""
        state = self._state
        home = state.living(source)
        first = home == source
        into = state.living(target) if first else home
        if source in (target, into):
            raise ValueError(f"{source!r} cannot be merged into {target!r}, which counts as it")
        customer, untied, moved = self._unite_accounts(source, into, watchers, hooks)
        moved += self._unite_counts(source, into) + self._unite_grants(source, into, again=not first)
        moved += self._unite_overrides(source, into)
        moved += self._unite_messages(source, into) + self._unite_proof(source, into)
        moved += self._unite_happenings(source, into)
        if first:
            state.post([replace(draft, subject=into) for draft in drafts], state.clock.now())
        return Merged(into, moved, first, customer, untied)

    def _unite_counts(self, source: str, target: str) -> int:
        state, moved = self._state, 0
        now = state.clock.now()
        for where, table in state.counters.items():
            theirs, ours = self._meter(where, source), self._meter(where, target)
            if theirs is not None:
                united = unite(ours, theirs, now)
                del table[source]
                table[target] = pack(united.meter.counter)
                bills = state.bills.get(where, {})
                bills.pop(source, None)
                if united.meter.bill != Bill():
                    state.bills.setdefault(where, {})[target] = united.meter.bill
                for gone in united.over:
                    if gone.bill.billable or gone.bill.reported:  # of the others nothing is kept
                        past = PastWindow(gone.counter.end, gone.counter.used, gone.bill)
                        keep_past(state, where, (target, gone.counter.start), past)
                moved += 1
        for where, over in state.past.items():
            for name in [name for name in over if name[0] == source]:
                keep_past(state, where, (target, name[1]), over.pop(name))
                moved += 1
        keys = state.keys.pop(source, {})
        if keys:
            state.keys[target] = {**keys, **state.keys.get(target, {})}
        return moved + len(keys)

    def _meter(self, where: tuple[str, str], subject: str) -> Meter | None:
        counter = unpack(self._state.counters[where].get(subject))
        bill = self._state.bills.get(where, {}).get(subject, Bill())
        return None if counter is None else Meter(counter, bill)

    def _unite_overrides(self, source: str, target: str) -> int:
        """One gives way to one of the target's that is in force on the same counter."""
        state, now = self._state, self._state.clock.now()
        theirs, ours = state.overrides.pop(source, []), state.overrides.get(target, [])
        if not theirs:
            return 0
        held = {row.meter for row in ours if row.in_force(now)}
        ends = (row.meter in held and row.in_force(now) for row in theirs)
        moved = [
            replace(row, subject=target, ended_at=now if end else row.ended_at)
            for row, end in zip(theirs, ends, strict=True)
        ]
        state.overrides[target] = sorted([*ours, *moved], key=lambda row: row.set_at)
        state.holders.setdefault(target, Holder())
        self._hold_overrides(target, now)
        return len(moved)

    def _unite_grants(self, source: str, target: str, *, again: bool) -> int:
        state = self._state
        theirs, ours = state.grants.pop(source, []), state.grants.get(target, [])
        taken = {row.grant.key for row in ours}
        for row in theirs:
            other = other_key(source, row.grant.key)
            if (row.grant.key in taken and again) or other in taken:
                continue  # the same grant once more, made by a call that was under way
            key = other if row.grant.key in taken else row.grant.key
            ours = [*ours, replace(row, grant=replace(row.grant, subject=target, key=key))]
        if theirs:
            state.grants[target] = sorted(ours, key=lambda row: row.pot.number)
        return len(theirs)

    def _unite_messages(self, source: str, target: str) -> int:
        self._ask_once(source, target)
        state, moved = self._state, 0
        for row in state.messages.values():
            if row.draft.subject == source:
                row.draft = replace(row.draft, subject=target)
                moved += 1
        marketing = state.marketing.pop(source, [])
        if marketing:
            state.marketing.setdefault(target, []).extend(marketing)
        for name in [name for name in state.suppressions if name[1] == source]:
            told = state.suppressions.pop(name)
            state.suppressions.setdefault((name[0], target, name[2]), replace(told, subject=target))
            moved += 1
        return moved

    def _ask_once(self, source: str, target: str) -> None:
        """Of the messages that ask the same person to upgrade, about running windows, let one go out."""
        state, now = self._state, self._state.clock.now()
        groups: dict[tuple[str, str], list[MessageRow]] = {}
        for row in state.messages.values():
            draft, wall = row.draft, state.walls.get(row.draft.wall or "")
            asks = draft.kind == "upgrade_prompt" and draft.subject in (source, target)
            if asks and wall is not None and wall.wall.window_end > now:
                groups.setdefault((draft.step, draft.plan), []).append(row)
        # Walls know it for longer than messages are kept.
        prompted = [
            row.wall
            for row in state.walls.values()
            if row.prompted and row.wall.subject in (source, target) and row.wall.window_end > now
        ]
        for (step, plan), rows in groups.items():
            before = {wall.subject for wall in prompted if (wall.step, wall.plan) == (step, plan)}
            asked = bool(before) or any(row.state in PERHAPS_SENT or row.begun is not None for row in rows)
            unsent = [row for row in rows if row.settled_at is None and row.begun is None]
            unsent.sort(key=lambda row: row.draft.subject != target)  # the target's goes out, if it has one
            if len(before | {row.draft.subject for row in rows}) > 1:
                for row in unsent if asked else unsent[1:]:
                    row.state, row.reason, row.settled_at = MessageState.CANCELLED, ASKED_ALREADY, now
                    del state.open[row.id]

    def _unite_proof(self, source: str, target: str) -> int:
        """Walls, conversions and journeys."""
        state, moved = self._state, 0
        for wall in state.walls.values():
            if wall.wall.subject == source:
                wall.wall = replace(wall.wall, subject=target)
                moved += 1
        latest = state.standing.setdefault(target, {})
        for name, wall in state.standing.pop(source, {}).items():
            other = latest.get(name, wall)
            latest[name] = max(other, wall, key=lambda one: one.wall.window_end)
        for index, conversion in enumerate(state.conversions):
            if conversion.subject == source:
                state.conversions[index] = replace(conversion, subject=target)
                moved += 1
        state.spells.setdefault(target, []).extend(state.spells.pop(source, ()))
        state.opened.setdefault(target, []).extend(state.opened.pop(source, ()))
        converted = max(state.converted.pop(source, 0), state.converted.get(target, 0))
        if converted:
            state.converted[target] = converted
        for way in [way for way in state.ways if way[0] == source]:
            names = state.ways.pop(way)
            for journey in names:
                state.journeys[journey] = replace(state.journeys[journey], subject=target)
            state.ways.setdefault((target, way[1]), []).extend(names)
            moved += len(names)
        return moved

    def _unite_happenings(self, source: str, target: str) -> int:
        """Firings, the log, and whom steps have acted upon."""
        state, moved = self._state, 0
        for row in state.firings.values():
            if row.new.subject == source:
                row.new = replace(row.new, subject=target)
                moved += 1
        for step in state.recipients.values():
            theirs = step.pop(source, None)
            if theirs is not None:
                step[target] = _both(step.get(target), theirs)
                moved += 1
        lines = sum(line.subject == source for line in state.log)
        if lines:
            state.log = deque(
                replace(line, subject=target) if line.subject == source else line for line in state.log
            )
        return moved + lines

    def _unite_accounts(
        self, source: str, target: str, watchers: tuple[Watcher, ...], hooks: tuple[str, ...]
    ) -> tuple[str | None, str | None, int]:
        """What billing has set. Returns the customer, one that lost its tie, and whether anything changed."""
        state, now = self._state, self._state.clock.now()
        theirs, ours = state.holders.get(source) or Holder(), state.holders.get(target) or Holder()
        tie, plan = bring_together(_billing(ours, now), _billing(theirs, now))
        customer, untied = (theirs.customer, ours.customer) if tie else (ours.customer, theirs.customer)
        # What is not kept is not paid for any more, so that one conversion at most stays open.
        name, dropped = (target, ours) if plan else (source, theirs)
        until = dropped.standing.until if dropped.standing else None
        end_spell(state, name, now if until is None else min(until, now), hooks, now)
        if untied is not None:
            state.payers[untied].subject = None
        if tie or plan:
            state.holders[target] = ours
        if tie and theirs.customer is not None:
            ours.customer, ours.email, ours.cycle = theirs.customer, theirs.email, theirs.cycle
            ours.checked_at, ours.features = theirs.checked_at, theirs.features
            state.payers[theirs.customer].subject = target
        if plan and theirs.standing is not None:
            before = ours.standing.plan if ours.standing else theirs.default
            ours.standing, ours.default = theirs.standing, theirs.default
            if theirs.standing.until is not None:
                heappush(state.lapses, (theirs.standing.until, target))
            terms = Terms(timedelta(0), "last", watchers, hooks)
            self._tell(target, before, theirs.standing.plan, now, terms)
        if theirs.merged_into is None:  # else it keeps the instant at which the two became one
            state.holders[source] = Holder(merged_into=target, merged_at=now)
        earlier = state.aliases.pop(source, [])
        for name in earlier:
            state.holders[name].merged_into = target
        names = [*state.aliases.get(target, ()), *earlier, source]
        state.aliases[target] = list(dict.fromkeys(names))
        return customer, untied, int(tie or plan)


def _both(ours: Recipient | None, theirs: Recipient) -> Recipient:
    """Acted upon as often as both together, and last when either was."""
    if ours is None:
        return theirs
    last = theirs if theirs.fired_at > ours.fired_at else ours
    seen = max(filter(None, (ours.seen, theirs.seen)), default=None)
    return replace(last, fires=ours.fires + theirs.fires, seen=seen)


def _billing(holder: Holder, now: datetime) -> Billing:
    standing = holder.standing_at(now)
    return Billing(holder.customer, standing is not None and standing.plan != holder.default)
