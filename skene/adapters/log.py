"""Log events that machines can read."""

import logging
from collections.abc import Callable
from typing import Any

from skene.ports.hooks import Event
from skene.ports.observers import Work, WorkKind

__all__ = ["LogEvents"]


class LogEvents:
    """An observer that logs: `Skene(…, observers=[LogEvents()])`.

    Each record has a short message for people, such as `skene decision usage_limit_reached`, and everything
    as a dictionary in its attribute `skene`, for formatters that write JSON. Refusals, deliveries, what
    fails, and events are logged at INFO, everything else at DEBUG. It is a hook, too: `hooks={"log": …}`.

    Args:
        logger: where to; None is the logger `skene.activity`.
        subjects: write the subject's id, too. Only where ids may be in logs.
    """

    def __init__(self, logger: logging.Logger | None = None, *, subjects: bool = False) -> None:
        self._logger = logger or logging.getLogger("skene.activity")
        self._subjects = subjects

    def __repr__(self) -> str:
        return f"LogEvents({self._logger.name!r})"

    def begin(self, work: Work) -> Callable[[], None]:
        """Log the work when it is over."""
        return lambda: self._write(work)

    async def handle(self, event: Event) -> None:
        """Log an event, as a hook. Its data say what happened, and to whom where `subjects` is set."""
        about: dict[str, Any] = {"event": str(event.kind), "id": event.id, "at": event.at.isoformat()}
        if self._subjects:
            about |= {"subject": event.subject, "data": dict(event.data)}
        elif event.loop is not None:
            about["loop"] = event.loop
        self._logger.info("skene event %s", event.kind, extra={"skene": about})

    async def aclose(self) -> None:
        """Nothing is to be released."""

    def _write(self, work: Work) -> None:
        worth = work.allowed is False or work.error is not None or work.kind is WorkKind.DELIVERY
        level = logging.INFO if worth else logging.DEBUG
        if not self._logger.isEnabledFor(level):
            return
        about: dict[str, Any] = {"work": str(work.kind), **work.labels, "seconds": round(work.seconds, 6)}
        if work.allowed is not None:
            about["allowed"] = work.allowed
        if work.units:
            about["units"] = work.units
        if self._subjects:
            about["subject"] = work.subject
        self._logger.log(level, "skene %s %s", work.kind, work.outcome, extra={"skene": about})
