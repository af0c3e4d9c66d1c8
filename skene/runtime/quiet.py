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
        """Log a warning, unless one with the same unfilled `message` was logged within a second."""
        now = self._clock.now()
        last = self._last.get(message)
        if last is not None and timedelta(0) <= now - last < SPACING:
            self._dropped[message] = self._dropped.get(message, 0) + 1
            return
        self._last[message] = now
        dropped = self._dropped.pop(message, 0)
        if dropped:
            self._logger.warning(f"{message} (%s more like this)", *args, dropped)  # noqa: G004 - the format is fixed text
        else:
            self._logger.warning(message, *args)

    def info(self, message: str, *args: object) -> None:
        """Log something that happens seldom, and that nothing is wrong with."""
        self._logger.info(message, *args)

    def error(self, message: str, *args: object, error: BaseException) -> None:
        """Log an exception with its traceback."""
        self._logger.error(message, *args, exc_info=error)
