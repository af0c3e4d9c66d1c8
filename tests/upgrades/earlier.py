"""What processes of earlier releases say to the database, as they said it.

They go on saying it while a newer release is rolled out, and after one is rolled back. Each entry is the SQL
of a release's own calls, written down when the next version of the schema came; entries are never changed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

__all__ = ["CLIENTS", "Client"]

CALL = "($1, $2, $3::text::jsonb, $4, $5, $6, $7)"
SEVERAL = "($1, $2, $3, $4, $5, $6, $7)"


@dataclass(frozen=True)
class Client:
    """How the code of some versions of the schema charges and gives back.

    Attributes:
        versions: of the schema that its releases were made for.
        consume, many, refund: its statements.
        granted: its answers have a column more, of what grants have paid.
        timed: it tells the time when it gives back.
    """

    versions: tuple[str, ...]
    consume: str
    many: str
    refund: str
    granted: bool = True
    timed: bool = True

    async def charge(
        self, connection: asyncpg.Connection, subject: str, limit: int, key: str | None = None
    ) -> tuple[str, datetime | None]:
        """Take a unit; returns the outcome, and when it was charged."""
        arguments = (subject, "free", charges(limit), key, "POST /calls" if key else "", None, True)
        (row,) = await connection.fetch(self.consume, *arguments)
        return row["outcome"], row["charged_at"]

    async def charge_many(
        self, connection: asyncpg.Connection, subjects: Sequence[str], limit: int
    ) -> list[str]:
        """Take a unit of each of several in one statement; returns the outcomes."""
        count = len(subjects)
        none: list[Any] = [None] * count
        free, asked = ["free"] * count, [charges(limit)] * count
        rows = await connection.fetch(self.many, list(subjects), free, asked, none, [""] * count, None, True)
        return [row["outcome"] for row in rows]

    async def give_back(
        self, connection: asyncpg.Connection, subject: str, at: datetime, key: str | None = None
    ) -> None:
        """Give a unit back in the window it was charged in."""
        arguments = [subject, ["calls"], ["free"], [at], [1], key]
        await connection.execute(self.refund, *arguments, *([None] if self.timed else []))


def charges(limit: int) -> str:
    """One unit of thirty days, as JSON."""
    rule = {"kind": "anchored", "length": 30 * 86_400 * 1_000_000}
    limits = {"free": limit, "paid": None}
    one = {"cost": 1, "step": "freemium.0", "meter": "calls", "limits": limits, "rule": rule}
    return json.dumps([one])


CLIENTS = (
    Client(
        ("0001", "0002"),
        f"SELECT * FROM skene_consume_v1{CALL}",
        f"SELECT * FROM skene_consume_many_v1{SEVERAL}",
        "SELECT skene_refund_v1($1, $2, $3, $4, $5, $6)",
        granted=False,
        timed=False,
    ),
    Client(
        ("0003",),
        f"SELECT * FROM skene_consume_v2{CALL}",
        f"SELECT * FROM skene_consume_many_v2{SEVERAL}",
        f"SELECT skene_refund_v2{SEVERAL}",
    ),
    Client(
        ("0004", "0005"),
        f"SELECT * FROM skene_consume_v3{CALL}",
        f"SELECT * FROM skene_consume_many_v3{SEVERAL}",
        f"SELECT skene_refund_v3{SEVERAL}",
    ),
)
"""Oldest first; what the newest version's own release says is skene's own code."""
