"""The log: how firings and walls were decided."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql import tables
from skene.ports.firings import DecisionRow, Outcome, Phase

__all__ = ["decisions", "log"]

_LOG = tables.decisions
_FIELDS = ("at", "loop", "step", "subject", "phase", "outcome", "reason", "firing")


def log(connection: sa.Connection, lines: Iterable[DecisionRow]) -> None:
    """Write lines into the log."""
    rows = [{field: getattr(line, field) for field in _FIELDS} for line in lines]
    if rows:
        connection.execute(sa.insert(_LOG), rows)


def decisions(
    connection: sa.Connection,
    now: datetime,
    loop: str | None,
    subject: str | None,
    outcome: Outcome | None,
    since: datetime | None,
    limit: int,
) -> tuple[DecisionRow, ...]:
    """The log, latest first."""
    chosen = sa.select(*(_LOG.c[field] for field in _FIELDS)).order_by(_LOG.c.at.desc(), _LOG.c.id.desc())
    for column, wanted in ((_LOG.c.loop, loop), (_LOG.c.subject, subject), (_LOG.c.outcome, outcome)):
        if wanted is not None:
            chosen = chosen.where(column == wanted)
    if since is not None:
        chosen = chosen.where(_LOG.c.at >= since)
    return tuple(_line(row) for row in connection.execute(chosen.limit(limit)).mappings())


def _line(row: sa.RowMapping) -> DecisionRow:
    words: dict[str, Any] = {"phase": Phase(row["phase"]), "outcome": Outcome(row["outcome"])}
    return DecisionRow(**{**row, **words})
