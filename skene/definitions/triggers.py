"""The triggers that set off firings, a class for each: rows, the clock, webhooks, events of the app."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from skene.definitions.base import Definition
from skene.definitions.checks import Duration, choice, printable, text
from skene.definitions.cron import read_cron
from skene.definitions.faults import DefinitionError, Fault, describe, key_path, refuse
from skene.definitions.units import LARGEST
from skene.definitions.values import FrozenDict, as_list, as_mapping, repeated_keys
from skene.definitions.zones import read_zone

__all__ = [
    "FIRING_TRIGGERS",
    "PLAN_CHANGED",
    "AnyFiringTrigger",
    "Cell",
    "DatabaseTrigger",
    "EventName",
    "EventTrigger",
    "ScheduleTrigger",
    "WebhookTrigger",
]

PLAN_CHANGED = "plan.changed"
"""The event that skene itself emits when a subject's plan changes."""

Cell = str | int | bool | None
"""A value that a column is compared with."""

_TABLE = 'a table such as "users" or "shop.orders"'
_COLUMN = 'the name of a column, such as "user_id"'
_CELLS = 'values by column, such as {"status": "active"}'
_PART = re.compile(r"[^\s.\"'`;\\]{1,63}")
_EVENT = 'the name of an event such as "project.created" (A-Z a-z 0-9 _ . : -, up to 100)'
_SOURCE = 'the name of a source in Skene(sources=…), such as "crm" (a-z 0-9 _ -, a letter first)'
_PATH = 'where the payload names the subject, such as "data.user_id"'

EventName = Annotated[str, text(_EVENT, 100, pattern=r"[A-Za-z0-9_.:-]+")]
SourceName = Annotated[str, text(_SOURCE, 50, pattern=r"[a-z][a-z0-9_-]*")]


def _is_column(value: object) -> bool:
    return isinstance(value, str) and bool(_PART.fullmatch(value)) and printable(value)


def _table(value: object) -> str:
    if isinstance(value, str):
        parts = value.split(".")
        if len(parts) <= 2 and all(_is_column(part) for part in parts):
            return value
    raise refuse(value, _TABLE, _nearest_table(value) if isinstance(value, str) else None)


def _nearest_table(value: str) -> str | None:
    """The name without quotes, which are skene's to add, and without a database before it."""
    parts = re.sub(r"[\"'`;\s]", "", value).split(".")[-2:]
    near = ".".join(parts)
    return f'"{near}"' if near != value and all(_is_column(part) for part in parts) else None


def _column(value: object) -> str:
    if not _is_column(value):
        raise refuse(value, _COLUMN)
    return str(value)


def _columns(value: object) -> tuple[str, ...]:
    given = as_list(value)
    if not given:
        hint = f'["{value}"]' if _is_column(value) else None
        raise refuse(value, 'a list of columns, such as ["status"]', hint)
    wrong = [
        Fault(f"[{place}]", describe(one), _COLUMN) for place, one in enumerate(given) if not _is_column(one)
    ]
    if wrong:
        raise DefinitionError(wrong)
    return tuple(str(one) for one in given)


def _cells(value: object) -> FrozenDict[str, Cell]:
    given = as_mapping(value)
    if not given:
        raise refuse(value, _CELLS)
    faults = repeated_keys(given)
    read: dict[str, Cell] = {}
    for column, cell in given.items():
        plain = cell is None or isinstance(cell, (str, bool))
        if not _is_column(column):
            faults.append(Fault(key_path(column), describe(column), _COLUMN))
        elif plain or (isinstance(cell, int) and abs(cell) <= LARGEST):
            read[str(column)] = cell  # type: ignore[assignment]  # mypy does not see through `plain`
        else:
            allowed = "text, a whole number, True, False or None"
            faults.append(Fault(key_path(column), describe(cell, str(column)), allowed))
    if faults:
        raise DefinitionError(faults)
    return FrozenDict(read)


class DatabaseTrigger(Definition, frozen=True):
    """Every row that is inserted, updated or deleted in a table of yours, once its transaction commits.

    Attributes:
        table: The table, with its schema if that is not the connection's own.
        event: What happens to the row.
        columns: For an update: only one that changes at least one of these columns; None for any.
        where: Values that columns must have; for an update, which the row comes to have by it.
        subject: The column that names the subject.
        capture: The columns that are copied for templates; None for all but those that sound secret.
    """

    example: ClassVar[str] = 'trigger.database("users", event="insert")'

    type: Annotated[Literal["database"], choice("database")] = "database"
    table: Annotated[str, BeforeValidator(_table)] = Field(description=_TABLE)
    event: Annotated[Literal["insert", "update", "delete"], choice("insert", "update", "delete")] = Field(
        description='"insert", "update" or "delete"'
    )
    columns: Annotated[tuple[str, ...], BeforeValidator(_columns)] | None = None
    where: Annotated[Mapping[str, Cell], PlainValidator(_cells)] | None = None
    subject: Annotated[str, BeforeValidator(_column)] = "id"
    capture: Annotated[tuple[str, ...], BeforeValidator(_columns)] | None = None

    @model_validator(mode="after")
    def _columns_change_in_updates(self) -> Self:
        if self.columns is not None and self.event != "update":
            given = f'columns that change, with event="{self.event}"'
            raise refuse(None, 'event="update", or no columns', path="columns", given=given)
        return self


class ScheduleTrigger(Definition, frozen=True):
    """The clock: the minutes that a cron expression names.

    Attributes:
        cron: Five fields: minute, hour, day of the month, month, day of the week.
        timezone: The IANA name of the zone whose clocks are meant.
        grace: How late a tick may be after everything stood still; later ones are left out.
    """

    example: ClassVar[str] = 'trigger.schedule("0 9 * * *")'

    type: Annotated[Literal["schedule"], choice("schedule")] = "schedule"
    cron: Annotated[str, BeforeValidator(read_cron)] = Field(
        description='a cron expression such as "0 9 * * *"'
    )
    timezone: Annotated[str, BeforeValidator(read_zone)] = "UTC"
    grace: Duration = timedelta(hours=1)


class WebhookTrigger(Definition, frozen=True):
    """A signed webhook from elsewhere.

    Attributes:
        source: Who sends it, by the name in `Skene(sources=…)`.
        event: The type of event it must be; None for every type.
        subject: Where its payload names the subject: keys, with dots between them.
    """

    example: ClassVar[str] = 'trigger.webhook("crm", subject="data.user_id")'

    type: Annotated[Literal["webhook"], choice("webhook")] = "webhook"
    source: SourceName = Field(description=_SOURCE)
    event: EventName | None = None
    subject: Annotated[str, text(_PATH, 200, pattern=r"[^\s.]+(\.[^\s.]+)*")] = Field(description=_PATH)


class EventTrigger(Definition, frozen=True):
    """Something that the app tells of: `await skene.emit("project.created", subject)`.

    Attributes:
        event: The event's name. `plan.changed` is skene's own.
    """

    example: ClassVar[str] = 'trigger.event("project.created")'

    type: Annotated[Literal["event"], choice("event")] = "event"
    event: EventName = Field(description=_EVENT)


AnyFiringTrigger = DatabaseTrigger | ScheduleTrigger | WebhookTrigger | EventTrigger
FIRING_TRIGGERS: tuple[type[AnyFiringTrigger], ...] = (
    DatabaseTrigger,
    ScheduleTrigger,
    WebhookTrigger,
    EventTrigger,
)
