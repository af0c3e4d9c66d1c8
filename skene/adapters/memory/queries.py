"""Answers to queries, set by hand: for tests and demos without a database."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from inspect import isawaitable
from typing import Any

import anyio
from pydantic import JsonValue

from skene.definitions.sql import Select
from skene.errors import QueryRefused, QueryTimeout
from skene.ports.queries import Row

__all__ = ["MemoryQueries"]

Rows = Sequence[Mapping[str, Any]]
Answer = Callable[[Mapping[str, JsonValue]], Rows | Awaitable[Rows]]


class MemoryQueries:
    """The port `Queries` without a database: each statement has the answer it was given.

    storage.queries.answer("SELECT id FROM users WHERE plan = :plan", [{"id": "ada"}])
    storage.queries.answer(text, lambda values: rows[values["subject"]])
    """

    def __init__(self) -> None:
        self._answers: dict[str, tuple[Answer, tuple[str, ...]]] = {}

    def answer(self, text: str, rows: Rows | Answer, *, columns: Sequence[str] = ()) -> None:
        """Set what a statement answers, in place of what it answered before.

        Args:
            text: the statement, as in the condition; spaces and line breaks do not matter.
            rows: the rows, or a function of the values that are bound, which may be async. It gets what the
                statement names, and may raise.
            columns: names that `check` tells; those of the first row if left out.
        """
        if callable(rows):
            self._answers[_key(text)] = (rows, tuple(columns))
        else:
            fixed = [dict(row) for row in rows]
            self._answers[_key(text)] = (lambda values: fixed, tuple(columns or (fixed[0] if fixed else ())))

    async def check(self, select: Select) -> tuple[str, ...]:
        """The columns; none while there is no answer yet: a test may give it later."""
        found = self._answers.get(_key(select.text))
        return found[1] if found else ()

    async def fetch(
        self, select: Select, values: Mapping[str, JsonValue], *, timeout: timedelta, limit: int
    ) -> list[Row]:
        """The first rows, `limit` at most."""
        function, _ = self._find(select)
        missing = [name for name in select.names if name not in values]
        if missing:
            known = ", ".join(sorted(values)) or "none"
            raise QueryRefused(
                f"it binds :{missing[0]}, and there is no such value here; those there are: {known}"
            )
        try:
            with anyio.fail_after(timeout.total_seconds()):
                found = function({name: values[name] for name in select.names})
                rows = await found if isawaitable(found) else found
        except TimeoutError:
            raise QueryTimeout(f"the query was stopped after {timeout.total_seconds():g} s") from None
        return [dict(row) for row in rows[:limit]]

    @asynccontextmanager
    async def stream(
        self, select: Select, values: Mapping[str, JsonValue], *, timeout: timedelta, batch: int
    ) -> AsyncGenerator[AsyncIterator[list[Row]], None]:
        """All rows, `batch` at a time."""
        async with aclosing(self._batches(select, values, timeout, batch)) as batches:
            yield batches

    async def _batches(
        self, select: Select, values: Mapping[str, JsonValue], timeout: timedelta, size: int
    ) -> AsyncGenerator[list[Row], None]:
        rows = await self.fetch(select, values, timeout=timeout, limit=2**62)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    async def aclose(self) -> None:
        """Nothing to release."""

    def _find(self, select: Select) -> tuple[Answer, tuple[str, ...]]:
        found = self._answers.get(_key(select.text))
        if found is None:
            raise QueryRefused(
                "this storage has no tables, so a test has to say what the query answers:"
                " storage.queries.answer(text, rows)"
            )
        return found


def _key(text: str) -> str:
    return " ".join(text.split())
