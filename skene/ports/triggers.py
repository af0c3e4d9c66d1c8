"""The port to the triggers in a user's database: they write firings in the transaction of a user's write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from skene.engine.rowtrigger import RowTrigger

__all__ = ["Changes", "RowTrigger", "RowTriggers"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an installation did, by the triggers' names."""

    created: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class RowTriggers(Protocol):
    """Installs triggers, and removes them; never touches one that is not skene's.

    A trigger adds a row to `skene_firings` for each row of the user's that it is about, in the user's
    transaction: both are committed, or neither.

    All verbs but `sql` raise:
        StorageUnavailable: the database cannot be reached, or somebody holds a lock on the table.
        SchemaOutdated: skene's own tables are missing.
    """

    async def sql(self, wanted: Sequence[RowTrigger]) -> str:
        """The statements that create some triggers, for a person to read and to run.

        Raises:
            ConfigurationError: a table or column that the statements need to know is not there.
        """
        ...

    async def installed(self) -> tuple[str, ...]:
        """The names of the triggers that are there, in order."""
        ...

    async def missing(self, wanted: Sequence[RowTrigger]) -> tuple[RowTrigger, ...]:
        """Those that are not there, are switched off, or are there in another form than is wanted now.

        Raises:
            ConfigurationError: no such table, no such column; all faults at once.
        """
        ...

    async def install(self, wanted: Sequence[RowTrigger]) -> Changes:
        """See to it that exactly these triggers are there, in one transaction, one process at a time.

        What is right already is left alone, so that it may be called at every start.

        Raises:
            ConfigurationError: no such table, no such column, or no right to create triggers; all at once.
        """
        ...

    async def remove(self) -> tuple[str, ...]:
        """Remove all of skene's triggers. Firings that they have written stay.

        Returns:
            The names of those that were there.
        """
        ...
