"""Other processes that work on the same SQLite file."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["write_lock"]


@contextmanager
def write_lock(path: Path) -> Generator[None, None, None]:
    """Hold what every writer needs, as a stranger with an open transaction does."""
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    yield
    stranger.close()
