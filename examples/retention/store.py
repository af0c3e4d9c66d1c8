"""The app's own tables, in the database that skene uses too: DATABASE_URL, or an SQLite file.

`python store.py` creates them.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

T = TypeVar("T")

tables = sa.MetaData()
users = sa.Table(
    "users",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("last_activity_at", sa.DateTime, nullable=False, server_default=sa.func.current_timestamp()),
    sa.Column("re_engagement_sent", sa.Boolean, nullable=False, server_default=sa.false()),
)


def connect(url: str) -> AsyncEngine | sa.Engine:
    """asyncpg for PostgreSQL; Python's own sqlite3 for a file, which runs in a thread."""
    if url.startswith("postgres"):
        address = sa.make_url(url).set(drivername="postgresql+asyncpg")
        return create_async_engine(address, poolclass=NullPool)
    return sa.create_engine(url, poolclass=NullPool)


engine = connect(os.environ.get("DATABASE_URL") or "sqlite:///skene.db")


async def run(work: Callable[[sa.Connection], T]) -> T:
    """Do something in one transaction."""
    if isinstance(engine, AsyncEngine):
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    return await to_thread.run_sync(_in_file, engine, work)


def _in_file(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


async def add_user(email: str, name: str) -> int:
    new = sa.insert(users).values(email=email, name=name).returning(users.c.id)
    return await run(lambda connection: connection.execute(new).scalar_one())


async def find_user(user: int) -> sa.RowMapping | None:
    one = sa.select(users).where(users.c.id == user)
    return await run(lambda connection: connection.execute(one).mappings().one_or_none())


async def seen(user: int) -> None:
    """Somebody is here: whatever was sent before, they may be written to after their next absence."""
    now = {"last_activity_at": sa.func.current_timestamp(), "re_engagement_sent": False}
    await _change(user, now)


async def mark_sent(user: int) -> None:
    await _change(user, {"re_engagement_sent": True})


async def _change(user: int, values: dict[str, object]) -> None:
    change = sa.update(users).where(users.c.id == user).values(values)
    await run(lambda connection: connection.execute(change))


if __name__ == "__main__":
    anyio.run(run, tables.create_all)
