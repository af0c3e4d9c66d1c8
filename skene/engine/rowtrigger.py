"""What the database has to tell of, as a plain value."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["RowTrigger"]


@dataclass(frozen=True, slots=True)
class RowTrigger:
    """Rows of a table that set off firings of a step.

    Attributes:
        step, loop: what they set off.
        table: `users`, or `shop.orders` with its schema.
        event: what happens to the row.
        columns: for an update: only one that changes at least one of these; empty for any.
        where: columns and the values they must have; for an update, which it must have brought about.
        subject: the column that names the subject.
        capture: the columns to copy; None for all but those that sound secret.
    """

    step: str
    loop: str
    table: str
    event: Literal["insert", "update", "delete"]
    columns: tuple[str, ...] = ()
    where: tuple[tuple[str, str | int | bool | None], ...] = ()
    subject: str = "id"
    capture: tuple[str, ...] | None = None
