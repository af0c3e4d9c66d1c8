"""What went wrong at PostgreSQL, told by SQLSTATE and type, never by the words of a message."""

import asyncpg
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from skene.errors import SchemaOutdated, StorageError, StorageUnavailable

__all__ = ["FAULTS", "Stale", "explain", "is_worth_repeating", "read_only", "sqlstate", "told"]


class Stale(Exception):
    """Nothing was done, for a dead connection or a lock that is not to be had: it may be done over."""


FAULTS: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    exc.DBAPIError,
    AsyncAdapt_asyncpg_dbapi.Error,  # a DBAPIError as the pool raises it, from asyncpg's
    exc.TimeoutError,
    OSError,
    EOFError,
    Stale,
)
"""Everything that a statement, or getting a connection for it, can fail with."""

_CONFLICTS = {
    "40001",
    "40P01",
}  # serialization failure, deadlock: nothing was done, and the next try may pass
_READ_ONLY = {"25006"}
_UNAVAILABLE = {
    *_CONFLICTS,
    *_READ_ONLY,
    "55P03",  # lock not available
    "57014",  # statement cancelled or timed out
    "3D000",  # no such database
    "26000",  # a statement prepared on another server connection: a pooler is between
    "42P05",
    "0A000",  # the cached plan of a statement no longer fits
}
_UNAVAILABLE_CLASSES = {
    "08",  # connection
    "28",  # not let in
    "53",  # out of connections, memory, disk
    "57",  # shutting down, starting up, crashed
    "58",  # the system below it
}
_SCHEMA = {"42P01", "42883", "42703", "42704", "3F000"}  # no such table, function, column, type, schema


def sqlstate(error: BaseException) -> str:
    """The server's code for an error; empty if it is not the server's."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return getattr(cause, "sqlstate", None) or ""


def read_only(error: BaseException) -> bool:
    """The server takes no writes: we are still connected to what was the primary."""
    return sqlstate(error) in _READ_ONLY


def is_worth_repeating(error: BaseException) -> bool:
    """Nothing was done, and the same work may well succeed at once."""
    # A connection to a server that takes no writes has been let go of; the next may lead to another one.
    return isinstance(error, Stale) or sqlstate(error) in _CONFLICTS | _READ_ONLY


def explain(error: BaseException) -> StorageError | None:
    """The port's error for one of `FAULTS`; None for a mistake of ours, which must not be hidden."""
    code = sqlstate(error)
    if code in _SCHEMA:
        return SchemaOutdated("the tables or functions of skene are missing or old; run `skene db upgrade`")
    if code in _UNAVAILABLE or code[:2] in _UNAVAILABLE_CLASSES or _is_connection_fault(error):
        return StorageUnavailable(f"PostgreSQL cannot answer: {_in_short(error)}")
    return None


def told(error: Exception) -> Exception:
    """What to raise for one of `FAULTS`: the port's error for it, or itself if it is a mistake of ours."""
    if isinstance(error, TimeoutError):
        return StorageUnavailable("PostgreSQL did not answer in time")
    return explain(error) or error


def _is_connection_fault(error: BaseException) -> bool:
    if isinstance(error, exc.DBAPIError):
        return error.connection_invalidated or (error.orig is not None and _is_connection_fault(error.orig))
    if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error):
        return error.__cause__ is not None and _is_connection_fault(error.__cause__)
    if isinstance(error, asyncpg.PostgresError):
        return False
    # What is left of FAULTS: sockets, TLS, time-outs, a full pool, a connection that was closed under us.
    return isinstance(error, FAULTS)


def _in_short(error: BaseException) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    first = (str(cause).splitlines() or [""])[0]
    return f"{type(cause.__cause__ or cause).__name__}: {first}" if first else type(cause).__name__
