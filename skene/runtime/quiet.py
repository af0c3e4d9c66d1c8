"""Warnings that do not flood: an outage is one line a second, not one per request."""

import logging
from datetime import datetime, timedelta

from skene.ports.clock import Clock

__all__ = ["QuietLog"]

SPACING = timedelta(seconds=1)


class QuietLog:
    """A logger's warnings, each kind at most once a second; the next line says how many were left out."""

    def __init__(self, logger: logging.Logger, clock: Clock) -> None:
        self._logger = logger
        self._clock = clock
        self._last: dict[str, datetime] = {}
        self._dropped: dict[str, int] = {}

    def warning(self, message: str, *args: object) -> None:
        """Log a warning, unless one of the same kind (the same unfilled `message`) was logged within a second."""
        now = self._clock.now()
        last = self._last.get(message)
        if last is not None and timedelta(0) <= now - last < SPACING:
            self._dropped[message] = self._dropped.get(message, 0) + 1
            return
        self._last[message] = now
        dropped = self._dropped.pop(message, 0)
        more = f" ({dropped} more like this)" if dropped else ""
        self._logger.warning(message + more, *args)

    def exception(self, message: str, *args: object) -> None:
        """Log the exception being handled, with its traceback."""
        self._logger.exception(message, *args)
