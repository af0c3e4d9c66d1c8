"""One way to run a transaction, as every group of verbs expects it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

import sqlalchemy as sa

__all__ = ["Transacting", "Work"]

P = ParamSpec("P")
T = TypeVar("T")

Work: TypeAlias = Callable[Concatenate[sa.Connection, datetime, P], T]
"""What happens inside one transaction: given the connection, the storage's time, and the verb's arguments."""


class Transacting(ABC):
    """Runs transactions. A storage says how."""

    @abstractmethod
    async def _read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that only reads, against one state of the database."""

    @abstractmethod
    async def _write_within(
        self, seconds: float | None, work: Work[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run work in one transaction: all of it happens, or nothing.

        Args:
            seconds: how long it may take, if that is less than any answer may; None for as long.
            work, args, kwargs: what is done.
        """

    async def _write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in one transaction that may take as long as any answer."""
        return await self._write_within(None, work, *args, **kwargs)

    async def _report(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that only reads, and that may take longer, since it reads much."""
        return await self._read(work, *args, **kwargs)
