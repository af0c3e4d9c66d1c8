"""Why PostgreSQL did not run a user's SELECT, told by SQLSTATE."""

from collections.abc import Mapping

import asyncpg

from skene.adapters.postgres.faults import sqlstate
from skene.errors import QueryError, QueryRefused, QueryTimeout

__all__ = ["refusal"]

_STOPPED = {
    "57014",
    "25P03",
    "25P04",
}  # cancelled or timed out: the statement, the idle session, the transaction
_TOLD = ("0A", "25", "2F", "3F", "42")  # messages that show names only
_NOT_ITS_DOING = ("08", "28", "3D", "40", "53", "55", "57", "58", "26")


def refusal(error: BaseException, types: Mapping[str, str]) -> QueryError | None:
    """The port's error for what went wrong in a query; None if that was not the query's doing.

    Args:
        error: one of `faults.FAULTS`.
        types: the type that each value it binds is used as.
    """
    code = sqlstate(error)
    if code in _STOPPED:
        return QueryTimeout("the query was stopped at its time-out")
    if isinstance(error, asyncpg.DataError) or code.startswith("22") or isinstance(error, UnicodeError):
        uses = ", ".join(f":{name} as {wanted}" for name, wanted in types.items())
        return QueryRefused(
            f"a value cannot be used as the query uses it ({uses or 'it binds none'}; {type(error).__name__})"
        )
    if not isinstance(error, asyncpg.PostgresError) or code.startswith(_NOT_ITS_DOING):
        return None
    if not code.startswith(_TOLD):  # the message may repeat data
        return QueryRefused(f"PostgreSQL refuses it: {type(error).__name__} ({code})")
    hint = getattr(error, "hint", None)
    return QueryRefused(f"{error.args[0]}{f'; {hint}' if hint else ''}")
