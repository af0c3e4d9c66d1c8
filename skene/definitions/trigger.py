"""What starts a step: the `trigger` namespace."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from skene.definitions.base import Definition, part
from skene.definitions.checks import Flag, choice, either, one_of, printable
from skene.definitions.faults import DefinitionError, Fault, nearest, refuse, under
from skene.definitions.triggers import (
    FIRING_TRIGGERS,
    AnyFiringTrigger,
    Cell,
    DatabaseTrigger,
    EventTrigger,
    ScheduleTrigger,
    WebhookTrigger,
)
from skene.definitions.values import as_list

__all__ = ["ApiTrigger", "api", "database", "event", "schedule", "webhook"]

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")

_LONGEST = 1000
_ALLOWED = (
    'a path such as "/api/features/*", where "*" stands for a whole segment and nothing else is a pattern'
)
_SEGMENT = re.compile(r"\*|[^\s*{}\\^$()\[\]|\"<>?#%]+")


def _is_path(value: str) -> bool:
    if value == "/":
        return True
    if not value.startswith("/") or len(value) > _LONGEST or not printable(value):
        return False
    segments = value[1:].split("/")
    return all(_SEGMENT.fullmatch(it) and it not in (".", "..") and ".+" not in it for it in segments)


def _repair(value: str) -> str | None:
    """Guesses which path was meant; None if that is no path either, or says nothing."""
    path = value.strip()[:_LONGEST]
    if "://" in path:
        path = re.sub(r"^[^:]*://[^/]*", "", path)
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    path = re.sub(r"\{[^{}/]*\}|<[^<>/]*>", "*", path)
    path = re.sub(r"[^/]*\*[^/]*", "*", path)
    path = re.sub(r"/{2,}", "/", f"/{path}").rstrip("/")
    return f'"{path}"' if path and path != value and _is_path(path) else None


def _endpoint(value: object) -> str:
    if not isinstance(value, str) or not _is_path(value):
        raise refuse(value, _ALLOWED, _repair(value) if isinstance(value, str) else None)
    return value


def _one_method(value: object) -> str:
    if value == "*":
        raise refuse(value, "a method, or leave it out to mean every method")
    if not isinstance(value, str) or value.upper() not in METHODS:
        near = nearest(value, METHODS)
        raise refuse(value, f"{either(METHODS)}, in any case", near and f'"{near}"')
    return value.upper()


def _methods(value: object) -> tuple[str, ...]:
    """Reads one method or several, in any case, as sorted upper-case names."""
    given = as_list(value)
    if given is None:
        return (_one_method(value),)
    read: set[str] = set()
    faults: list[Fault] = []
    for place, one in enumerate(given):
        try:
            read.add(_one_method(one))
        except DefinitionError as error:
            faults += under(f"[{place}]", error.faults)
    if faults:
        raise DefinitionError(faults)
    if not read:
        raise refuse(value, "at least one method, or leave it out to mean every method")
    return tuple(sorted(read))


class ApiTrigger(Definition, frozen=True):
    """Every call of the routes that a path pattern covers.

    Attributes:
        endpoint: The pattern. An inner `*` stands for exactly one segment, a last one for one or more.
        method: The methods it covers, upper case; None for every method but OPTIONS.
        optional: Whether the pattern may cover no route at all.
    """

    example: ClassVar[str] = 'trigger.api("/api/features/*")'

    type: Annotated[Literal["api"], choice("api")] = "api"
    endpoint: Annotated[str, BeforeValidator(_endpoint)] = Field(description=_ALLOWED)
    method: Annotated[tuple[str, ...], BeforeValidator(_methods)] | None = None
    optional: Flag = False

    @property
    def methods(self) -> frozenset[str] | None:
        """The methods it covers, upper case; None for every method but OPTIONS."""
        return None if self.method is None else frozenset(self.method)


Trigger = ApiTrigger | AnyFiringTrigger
AnyTrigger = Annotated[Trigger, PlainValidator(one_of(ApiTrigger, *FIRING_TRIGGERS))]
"""A trigger as the field of a definition."""


def api(endpoint: str, *, method: str | Sequence[str] | None = None, optional: bool = False) -> ApiTrigger:
    """Starts the step at every call of the routes that a path pattern covers.

    Args:
        endpoint: The full path of the routes, such as `"/api/features/*"`. An inner `*` stands for one
            segment, a last one for one or more; the prefix alone is not covered. Case matters.
        method: One method or several, in any case. Left out: every method but OPTIONS. HEAD counts as GET.
        optional: True lets the pattern cover no route; otherwise that is an error at start-up.
    """
    return part(ApiTrigger, type="api", endpoint=endpoint, method=method, optional=optional)


def database(
    table: str,
    *,
    event: Literal["insert", "update", "delete"],
    columns: Sequence[str] | None = None,
    where: Mapping[str, Cell] | None = None,
    subject: str = "id",
    capture: Sequence[str] | None = None,
) -> DatabaseTrigger:
    """Starts the step at every row that is inserted, updated or deleted in a table, once that commits.

    `skene db triggers --install` puts the triggers into your database.

    Args:
        table: The table, such as `"users"` or `"shop.orders"`.
        event: `"insert"`, `"update"` or `"delete"`.
        columns: For an update: only one that changes at least one of these.
        where: Values that columns must have: `{"status": "active"}`. An update must have brought them about.
        subject: The column that names the subject.
        capture: The columns that templates can use. Left out: all but those whose names sound secret.
    """
    return part(
        DatabaseTrigger,
        type="database",
        table=table,
        event=event,
        columns=columns,
        where=where,
        subject=subject,
        capture=capture,
    )


def schedule(cron: str, *, timezone: str = "UTC", grace: str | timedelta = "1h") -> ScheduleTrigger:
    """Starts the step at the minutes that a cron expression names, once each over all processes.

    Args:
        cron: Five fields, such as `"0 9 * * *"`: minute, hour, day of the month, month, day of the week.
        timezone: The IANA name of the zone whose clocks are meant: `"Europe/Helsinki"`. A time that the
            clocks skip in spring comes as soon as they have; one that comes twice in autumn counts once.
        grace: How late the latest missed tick may still run after everything stood still.
    """
    return part(ScheduleTrigger, type="schedule", cron=cron, timezone=timezone, grace=grace)


def webhook(source: str, *, subject: str, event: str | None = None) -> WebhookTrigger:
    """Starts the step at a signed webhook, which arrives at `/skene/webhooks/in/{source}`.

    Args:
        source: Who sends it, by the name in `Skene(sources=…)`.
        subject: Where its payload names the subject, such as `"data.user_id"`.
        event: The type of event it must be. Left out: any.
    """
    return part(WebhookTrigger, type="webhook", source=source, event=event, subject=subject)


def event(name: str) -> EventTrigger:
    """Starts the step when your code says `await skene.emit(name, subject)`.

    Args:
        name: Such as `"project.created"`. `"plan.changed"` comes from skene, when a subject's plan changes.
    """
    return part(EventTrigger, type="event", event=name)
