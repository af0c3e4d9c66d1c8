"""Spares the garbage collector what an app is made of."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["frozen"]

OWN = 1_000
"""More than Python sets aside itself: 3.12 a few hundred objects, the others none. An app has more."""


@contextmanager
def frozen() -> Generator[None]:
    """Set everything that is there now aside from garbage collection, and put it back at the end.

    What an app has loaded at its start stays until it ends: modules, models, routes. From time to time the
    collector looks at all of it nevertheless, and every request waits. Where somebody has set things aside
    already, as servers do before they fork, nothing is done.
    """
    if gc.get_freeze_count() > OWN:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
