"""Tells observers of work that goes on here."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import anyio

from skene.ports.observers import Work
from skene.runtime.parts import Parts

__all__ = ["watched"]


@contextmanager
def watched(parts: Parts, work: Work) -> Generator[Work]:
    """Tell every observer of the work in the block; none of them can stop it."""
    if not parts.observers:
        yield work
        return
    began = anyio.current_time()
    endings = [end for one in parts.observers if (end := _told(parts, partial(one.begin, work)))]
    try:
        yield work
    except BaseException as error:
        work.error, work.outcome = error, type(error).__name__
        raise
    finally:
        work.seconds = anyio.current_time() - began
        for end in reversed(endings):  # as they began: the last one's span is inside
            _told(parts, end)


def _told(parts: Parts, tell: Callable[[], Callable[[], None] | None]) -> Callable[[], None] | None:
    try:
        return tell()
    except Exception as error:  # noqa: BLE001 - anybody's class, and the call must go on
        parts.log.error("an observer failed", error=error)
        return None
