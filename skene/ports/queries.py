"""The port to a user's own tables: runs the SELECT of a condition, and nothing that writes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from pydantic import JsonValue

from skene.definitions.sql import Select

__all__ = ["Queries", "Row"]

Row = dict[str, JsonValue]
"""A row by its columns' names, as plain JSON.

Instants are ISO 8601 with their zone (without one they count as UTC), dates and times ISO 8601, durations
seconds, UUIDs text; exact numbers are numbers where JSON's hold them exactly, and text otherwise; JSON is
parsed where the database knows it as such; bytes are left out. Of two columns with one name the last counts.
"""


class Queries(Protocol):
    """Runs SELECTs on connections of its own, so that a slow one never keeps anybody from counting.

    Nothing that a query does outlasts it: it cannot write, and the next one finds every setting as it was.
    `values` has what the query binds, by name; `subject` is one of them. Values are bound as the type that
    the query needs: the text `42` fits a column of numbers. Values that the query does not name are ignored.

    All verbs raise:
        QueryRefused: it will never work: it does not compile, it would write, it names a value that is not
            given, or one that does not fit the type it is compared with.
        QueryTimeout: it was stopped; that takes a second more than its time-out at most.
        StorageUnavailable: the database is away, or too busy to begin. Another try later is right.
    """

    async def check(self, select: Select) -> tuple[str, ...]:
        """Compile a query against the database as it is now, and see that it only reads. Runs nothing of it.

        Returns:
            The names of its columns, in order; empty where they are not known before it runs.
        """
        ...

    async def fetch(
        self, select: Select, values: Mapping[str, JsonValue], *, timeout: timedelta, limit: int
    ) -> list[Row]:
        """The first rows of a query, `limit` at most."""
        ...

    def stream(
        self, select: Select, values: Mapping[str, JsonValue], *, timeout: timedelta, batch: int
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Row]]]:
        """All rows of a query, from one state of the database, never more than `batch` in memory.

            async with queries.stream(select, {}, timeout=timedelta(minutes=10), batch=500) as batches:
                async for rows in batches:
                    ...

        No list is empty; where rows are long, the lists are shorter. The time-out is for all of it, what the
        caller does between the batches included.
        """
        ...

    async def aclose(self) -> None:
        """Release connections. May be called twice; the next use connects again."""
        ...
