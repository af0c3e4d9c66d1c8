"""What a database trigger shall watch, ready for those who write its SQL."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["RowEvent", "RowTrigger"]

RowEvent = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class RowTrigger:
    """A step that a change of a row sets off.

    Attributes:
        step: the step's key; loop: its loop's.
        table: `users` or `billing.users`; a part that is no plain word may stand in double quotes.
        event: what happens to a row.
        columns: an update counts only if it changes one of them; any column if there are none.
        where: column and value, all of which the row must have. An update counts when the row comes to have
            them: the new row does and the old one did not. None is NULL.
        subject: the column with the subject's id. A row without one sets nothing off.
        capture: the columns that are copied into the firing; None for all but those that look secret.
    """

    step: str
    loop: str
    table: str
    event: RowEvent
    columns: tuple[str, ...] = ()
    where: tuple[tuple[str, str | int | bool | None], ...] = ()
    subject: str = "id"
    capture: tuple[str, ...] | None = None
