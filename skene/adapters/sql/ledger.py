"""Walls and what came of them: the verbs of `ports.ledger`, each in the caller's transaction."""

from datetime import datetime

import sqlalchemy as sa

from skene.adapters.sql.aliases import living
from skene.adapters.sql.decisions import log
from skene.adapters.sql.dialect import serialise
from skene.adapters.sql.posting import post
from skene.adapters.sql.tables import conversions, walls
from skene.ports.counters import Draft
from skene.ports.firings import DecisionRow, Outcome, Phase
from skene.ports.ledger import Conversion, Wall

__all__ = ["conversion_rows", "get_wall", "mark_checkout", "mark_clicked", "open_wall"]

_OF_CONVERSIONS = (
    *("id", "subject", "wall", "loop", "plan", "amount", "currency"),
    *("converted_at", "again", "ended_at", "refunded"),
)
_FIELDS = (
    "id loop step subject plan meter limit used window_start window_end held_out shadow".split()  # noqa: SIM905 (fields read best as a line)
)


def open_wall(connection: sa.Connection, now: datetime, wall: Wall, drafts: tuple[Draft, ...]) -> str:
    """Record a wall and its messages, once per subject, step, plan and window."""
    serialise(connection, "wall", wall.subject, wall.step, wall.plan)
    same = (walls.c.subject == wall.subject, walls.c.step == wall.step, walls.c.plan == wall.plan)
    stands = sa.select(walls.c.id).where(*same, walls.c.window_end > now)
    standing: str | None = connection.scalar(stands.order_by(walls.c.window_end.desc()).limit(1))
    if standing is not None:
        return standing
    values = {field: getattr(wall, field) for field in _FIELDS}
    connection.execute(sa.insert(walls).values(opened_at=now, **values))
    post(connection, now, drafts)
    outcome = Outcome.SHADOW if wall.shadow else Outcome.REFUSED
    log(
        connection,
        [DecisionRow(now, wall.loop, wall.step, wall.subject, Phase.GATE, outcome, None, wall.id)],
    )
    return wall.id


def get_wall(connection: sa.Connection, now: datetime, wall: str) -> Wall | None:
    """A wall by its id."""
    columns = [walls.c[field] for field in _FIELDS]
    row = connection.execute(sa.select(*columns).where(walls.c.id == wall)).mappings().one_or_none()
    return Wall(**row) if row else None


def mark_clicked(connection: sa.Connection, now: datetime, wall: str, drafts: tuple[Draft, ...]) -> bool:
    """Record that a wall's link was followed; the first time counts."""
    mark = sa.update(walls).where(walls.c.id == wall, walls.c.clicked_at.is_(None))
    return _mark(connection, now, wall, mark.values(clicked_at=now), drafts)


def mark_checkout(
    connection: sa.Connection, now: datetime, wall: str, session: str | None, drafts: tuple[Draft, ...]
) -> bool:
    """Record that a checkout was opened from a wall; the first time counts."""
    mark = sa.update(walls).where(walls.c.id == wall, walls.c.checkout_at.is_(None))
    return _mark(connection, now, wall, mark.values(checkout_at=now, checkout_session=session), drafts)


def conversion_rows(
    connection: sa.Connection,
    now: datetime,
    since: datetime | None,
    until: datetime | None,
    subject: str | None,
    after: int | None,
    limit: int,
) -> tuple[Conversion, ...]:
    """Conversions, in the order they were recorded."""
    table = conversions.c
    joined = conversions.outerjoin(walls, table.wall == walls.c.id)
    chosen = sa.select(*(table[name] for name in _OF_CONVERSIONS), walls.c.opened_at).select_from(joined)
    chosen = chosen.order_by(table.id).limit(limit)
    if since is not None:
        chosen = chosen.where(table.converted_at >= since)
    if until is not None:
        chosen = chosen.where(table.converted_at < until)
    if subject is not None:
        chosen = chosen.where(table.subject == living(connection, subject))
    if after is not None:
        chosen = chosen.where(table.id > after)
    rows = connection.execute(chosen).mappings()
    return tuple(
        Conversion(row["id"], **{name: row[name] for name in (*_OF_CONVERSIONS[1:], "opened_at")})
        for row in rows
    )


def _mark(
    connection: sa.Connection, now: datetime, wall: str, mark: sa.Update, drafts: tuple[Draft, ...]
) -> bool:
    if connection.execute(mark).rowcount > 0:
        post(connection, now, drafts)
        return True
    return get_wall(connection, now, wall) is not None
