"""Stores that make one mistake each when two subjects become one: the suite must see it."""

from dataclasses import replace
from typing import Any

from skene.adapters.memory import MemoryStorage
from skene.ports.merging import Merged

__all__ = ["CARELESS_WITH_MERGES"]


class KeepsTheGreaterCount(MemoryStorage):
    async def merge(self, source: str, target: str, **how: Any) -> Merged:
        for table in self._state.counters.values():
            if source in table and target in table:
                del table[source]
        return await super().merge(source, target, **how)


class LeavesGrantsBehind(MemoryStorage):
    def _unite_grants(self, source: str, target: str, *, again: bool) -> int:
        return 0


class GrantsOnceMore(MemoryStorage):
    async def merge(self, source: str, target: str, **how: Any) -> Merged:
        grants = self._state.grants.get(source, [])
        merged = await super().merge(source, target, **how)
        self._state.grants[source] = grants
        self._state.holders[source].merged_into = None
        return merged


class AsksTwice(MemoryStorage):
    def _ask_once(self, source: str, target: str) -> None:
        """Whoever was to be asked under both names is asked twice."""


class LeavesWallsBehind(MemoryStorage):
    def _unite_proof(self, source: str, target: str) -> int:
        return 0


class ForgetsTheOldName(MemoryStorage):
    async def merge(self, source: str, target: str, **how: Any) -> Merged:
        merged = await super().merge(source, target, **how)
        self._state.holders.pop(source, None)
        return merged


class TheSourcesCustomerWins(MemoryStorage):
    async def merge(self, source: str, target: str, **how: Any) -> Merged:
        theirs = self._state.holders.get(source)
        if theirs is not None and theirs.customer is not None:
            self._state.holders.pop(target, None)
        return await super().merge(source, target, **how)


class BillsAfresh(MemoryStorage):
    async def merge(self, source: str, target: str, **how: Any) -> Merged:
        for table in self._state.bills.values():
            if source in table:
                table[source] = replace(table[source], reported=0)
        return await super().merge(source, target, **how)


class ErasesOneNameOnly(MemoryStorage):
    async def forget(self, subject: str) -> int:
        self._state.aliases.pop(subject, None)
        return await super().forget(subject)


CARELESS_WITH_MERGES: list[tuple[type[MemoryStorage], str]] = [
    (KeepsTheGreaterCount, "test_more_than_the_limit_together"),
    (LeavesGrantsBehind, "test_grants_and_what_they_paid"),
    (GrantsOnceMore, "test_merging_twice_grants_once"),
    (AsksTwice, "test_who_was_asked_is_not_asked_again"),
    (LeavesWallsBehind, "test_a_wall_from_before_the_sign_up_is_credited"),
    (ForgetsTheOldName, "test_calls_by_the_old_name"),
    (TheSourcesCustomerWins, "test_the_target_keeps_its_customer"),
    (BillsAfresh, "test_a_unit_is_on_one_bill_once"),
    (ErasesOneNameOnly, "test_who_was_merged_is_forgotten_with_the_person"),
]
