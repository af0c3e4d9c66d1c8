"""The endpoint behind gates written by hand: `uvicorn tests.chaos.apps.careless:app`.

Each is right as long as nothing happens, and is what `APP_CARELESS` names.
"""

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
import sqlalchemy as sa
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from sqlalchemy.ext.asyncio import create_async_engine

from tests.chaos.apps.endpoint import DATABASE, LIMIT, PATH, POOL, current_user, give_endpoint

COUNT = "SELECT count(*) FROM calls WHERE subject = $1"
INSERT = "INSERT INTO calls (subject) VALUES ($1)"
# One statement that is exact: what is careless about these gates is around it.
UPSERT = """
INSERT INTO {table} AS kept VALUES ($1, 1)
ON CONFLICT (subject) DO UPDATE SET used = kept.used + 1 WHERE kept.used < $2 RETURNING used
"""
ONCE, QUICKLY = UPSERT.format(table="counters"), UPSERT.format(table="quick_counters")
USED = """
SELECT (SELECT count(*) FROM calls WHERE subject = $1)
     + coalesce((SELECT used FROM counters WHERE subject = $1), 0)
     + coalesce((SELECT used FROM quick_counters WHERE subject = $1), 0)
"""
BROKEN = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)

_LOG = logging.getLogger(__name__)
User = Annotated[str, Depends(current_user)]


@asynccontextmanager
async def lifespan(made: FastAPI) -> AsyncGenerator[None]:
    async with asyncpg.create_pool(DATABASE, min_size=1, max_size=POOL) as pool:
        made.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)
engine = create_async_engine(
    "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(DATABASE), pool_size=POOL, max_overflow=0
)


def full() -> HTTPException:
    return HTTPException(402, "You have reached your limit.")


async def count_then_insert(user: User) -> None:
    """As it stands in tutorials, in a transaction of SQLAlchemy's."""
    async with engine.begin() as connection:
        asked = sa.text("SELECT count(*) FROM calls WHERE subject = :subject")
        if (await connection.execute(asked, {"subject": user})).scalar_one() >= LIMIT:
            raise full()
        await connection.execute(sa.text("INSERT INTO calls (subject) VALUES (:subject)"), {"subject": user})


async def select_then_update(user: User) -> None:
    """A row of a subject, made when there is none."""
    async with app.state.pool.acquire() as connection:
        used = await connection.fetchval("SELECT used FROM counters WHERE subject = $1", user)
        if used is None:
            await connection.execute("INSERT INTO counters VALUES ($1, 1)", user)
        elif used >= LIMIT:
            raise full()
        else:
            await connection.execute("UPDATE counters SET used = $2 WHERE subject = $1", user, used + 1)


async def answer_then_count(user: User, after: BackgroundTasks) -> None:
    """Nobody waits for the count: it is made in a background task."""
    if await app.state.pool.fetchval(COUNT, user) >= LIMIT:
        raise full()
    after.add_task(app.state.pool.execute, INSERT, user)


async def quickly(user: User) -> None:
    """Counters can be lost, so they are in a table that writes no log."""
    if await app.state.pool.fetchval(QUICKLY, user, LIMIT) is None:
        raise full()


async def fail_closed(user: User) -> None:
    """Who cannot be counted is not let in, and somebody is told why."""
    try:
        used = await app.state.pool.fetchval(ONCE, user, LIMIT)
    except Exception as error:
        _LOG.exception("cannot count")
        raise full() from error
    if used is None:
        raise full()


async def try_again(user: User) -> None:
    """A call whose connection broke is tried again."""
    for attempt in range(4):
        try:
            used = await app.state.pool.fetchval(ONCE, user, LIMIT)
            break
        except BROKEN:
            if attempt == 3:
                raise HTTPException(503) from None
    if used is None:
        raise full()


async def wait_for_ever(user: User) -> None:
    """One statement that is exact, and no limit to how long anything may take."""
    if await app.state.pool.fetchval(ONCE, user, LIMIT) is None:
        raise full()


async def if_received(user: User, request: Request) -> AsyncGenerator[None]:
    """Nobody pays for an answer that they did not get."""
    if await app.state.pool.fetchval(COUNT, user) >= LIMIT:
        raise full()
    yield
    if not await request.is_disconnected():
        await app.state.pool.execute(INSERT, user)


GATES: dict[str, Callable[..., Awaitable[None] | AsyncGenerator[None]]] = {
    gate.__name__: gate
    for gate in (
        count_then_insert,
        select_then_update,
        answer_then_count,
        quickly,
        fail_closed,
        try_again,
        wait_for_ever,
        if_received,
    )
}
give_endpoint(app, [Depends(GATES[os.environ["APP_CARELESS"]])])


@app.get("/skene/usage")
async def usage(user: User) -> dict[str, Any]:
    return {"usage": [{"path": PATH, "used": await app.state.pool.fetchval(USED, user)}]}
