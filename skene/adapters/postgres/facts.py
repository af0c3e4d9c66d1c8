"""What a server is like: for `skene doctor`."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["ServerFacts", "server_facts"]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What was seen.

    Attributes:
        now: the server's clock, aware.
        version: such as `17.2`.
        pooled: a pooler (PgBouncer or the like) stands in front of it.
    """

    now: datetime
    version: str
    pooled: bool


async def server_facts(connection: AsyncConnection) -> ServerFacts:
    """Ask the server."""
    asked = sa.text("SELECT clock_timestamp(), current_setting('server_version'), pg_backend_pid()")
    now, version, process = (await connection.execute(asked)).one()
    driver = (await connection.get_raw_connection()).driver_connection
    # A pooler hands out a number of its own where the server tells its process id.
    pooled = driver is not None and driver.get_server_pid() != process
    return ServerFacts(now, str(version).split()[0], pooled)
