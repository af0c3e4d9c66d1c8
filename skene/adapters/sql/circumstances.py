"""What a worker must know of the people in its hands: looked up for all of them at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.accounts import standing_at
from skene.adapters.sql.tables import conversions, customers, journeys, suppressions
from skene.ports.contacts import Suppressed
from skene.ports.firings import CONVERTED, GOAL_REACHED, UNSUBSCRIBED

__all__ = ["Circumstances", "look_up"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How it stands with those whom rows are about, when the rows were claimed."""

    now: datetime
    holders: dict[str, sa.RowMapping]
    unsubscribed: frozenset[str]
    ended: dict[str, str]
    early: frozenset[str]

    def plan(self, subject: str) -> str | None:
        """The plan the subject holds now; None if billing never heard of it."""
        standing = standing_at(self.holders.get(subject), self.now)
        return standing.plan if standing else None

    def email(self, subject: str) -> str | None:
        """The address that billing knows."""
        holder = self.holders.get(subject)
        return holder["email"] if holder else None

    def over(self, subject: str, journey: str | None, *, marketing: bool) -> str | None:
        """Why nobody wants a journey's message any more; None if somebody does, or there is no journey."""
        if journey is None:
            return None
        if journey in self.ended:
            return self.ended[journey]
        return UNSUBSCRIBED if marketing and subject in self.unsubscribed else None

    def goes_no_further(self, subject: str, journey: str | None) -> str | None:
        """Why a journey does not go on. A goal that came before it has only left it its first step."""
        return GOAL_REACHED if journey in self.early else self.over(subject, journey, marketing=True)


def look_up(
    connection: sa.Connection, now: datetime, rows: Sequence[sa.RowMapping | Mapping[str, Any]]
) -> Circumstances:
    """Look up everybody whom rows with a `subject` and a `journey` are about."""
    subjects = {row["subject"] for row in rows} - {""}
    ids = {row["journey"] for row in rows} - {None}
    holders: dict[str, sa.RowMapping] = {}
    unsubscribed: frozenset[str] = frozenset()
    if subjects:
        held = sa.select(customers).where(customers.c.subject.in_(subjects))
        holders = {row["subject"]: row for row in connection.execute(held).mappings()}
        wanting_none = sa.select(suppressions.c.subject).where(
            suppressions.c.kind == Suppressed.UNSUBSCRIBED, suppressions.c.subject.in_(subjects)
        )
        unsubscribed = frozenset(connection.scalars(wanting_none))
    ended, early = _ended(connection, ids) if ids else ({}, frozenset[str]())
    return Circumstances(now, holders, unsubscribed, ended, early)


def _ended(connection: sa.Connection, ids: Collection[Any]) -> tuple[dict[str, str], frozenset[str]]:
    """Why journeys have ended since they began, and those whose goal was reached before."""
    begun = sa.select(journeys.c.id, journeys.c.subject, journeys.c.begun_at, journeys.c.goal_at)
    rows = connection.execute(begun.where(journeys.c.id.in_(ids))).all()
    early = frozenset(row.id for row in rows if row.goal_at is not None and row.goal_at < row.begun_at)
    ended = {row.id: GOAL_REACHED for row in rows if row.goal_at is not None and row.id not in early}
    open_ones = [row for row in rows if row.id not in ended]
    if not open_ones:
        return ended, early
    # When it became known: what is dated back was not known to a journey that had begun by then.
    known = sa.func.coalesce(conversions.c.recorded_at, conversions.c.converted_at)
    last = sa.func.max(known, type_=conversions.c.converted_at.type)
    paid = sa.select(conversions.c.subject, last).group_by(conversions.c.subject)
    paid = paid.where(conversions.c.subject.in_({row.subject for row in open_ones}))
    latest = {subject: at for subject, at in connection.execute(paid)}  # noqa: C416 - a row is no pair to the type checkers
    for row in open_ones:
        if row.subject in latest and latest[row.subject] >= row.begun_at:
            ended[row.id] = CONVERTED
    return ended, early
