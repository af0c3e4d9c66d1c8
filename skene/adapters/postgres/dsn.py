"""Addresses of PostgreSQL as people write them, made into one that asyncpg takes."""

from urllib.parse import parse_qsl, urlencode

from skene.definitions.faults import Fault
from skene.errors import ConfigurationError

__all__ = ["asyncpg_dsn"]

_SCHEMES = ("postgres", "postgresql")
# Options of libpq that asyncpg would take for settings of the server, and those of SQLAlchemy's own.
_DROPPED = {
    *("channel_binding", "gssencmode", "connect_timeout", "keepalives", "keepalives_idle"),
    *("prepared_statement_cache_size", "statement_cache_size", "pgbouncer"),
}


def asyncpg_dsn(dsn: str) -> str:
    """The same address for asyncpg: `postgres://…` and `postgresql+anything://…` become `postgresql://…`.

    Everything else stays as it is: several hosts, a socket's folder in `?host=`, `sslmode` and certificates.

    Raises:
        ConfigurationError: it is no address of a PostgreSQL. The message does not repeat it; it may hold a
            password.
    """
    scheme, found, rest = dsn.partition("://")
    if not found or scheme.split("+")[0] not in _SCHEMES:
        given = f"an address that begins with {scheme!r}" if found else "text that is no address"
        raise ConfigurationError([Fault("storage.dsn", given, "postgresql://user@host/database", None)])
    address, _, query = rest.partition("?")
    for host in address.rpartition("@")[2].partition("/")[0].split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not port.isdecimal():
            raise ConfigurationError(
                [Fault("storage.dsn", "a port that is no number", "one such as 5432", None)]
            )
    renamed = {"ssl": "sslmode"}  # as SQLAlchemy's dialect spells it
    options = [(renamed.get(k, k), v) for k, v in parse_qsl(query) if k not in _DROPPED]
    return f"postgresql://{address}" + (f"?{urlencode(options)}" if options else "")
