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
)
projects = sa.Table(
    "projects",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner_id", sa.ForeignKey("users.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
)
user_actions = sa.Table(
    "user_actions",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("user_id", sa.ForeignKey("users.id"), nullable=False),
    sa.Column("action_type", sa.Text, nullable=False),
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


async def add_project(owner: int, name: str) -> int:
    """Returns how many the owner has now."""

    def work(connection: sa.Connection) -> int:
        connection.execute(sa.insert(projects).values(owner_id=owner, name=name))
        mine = sa.select(sa.func.count()).where(projects.c.owner_id == owner)
        count = connection.execute(mine).scalar_one()
        if count == 1:
            first = {"user_id": owner, "action_type": "first_project_created"}
            connection.execute(sa.insert(user_actions).values(first))
        return count

    return await run(work)


if __name__ == "__main__":
    anyio.run(run, tables.create_all)
