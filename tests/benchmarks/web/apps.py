"""One endpoint behind different gates, each as its documentation has it: `uvicorn --factory …apps:app`.

`BENCH_APP` names the gate, `BENCH_DSN`, `BENCH_SOCKET` and `BENCH_FILE` where it counts, `BENCH_LIMIT` its
limit. Every app knows who calls, as apps do: the endpoint takes the user from a dependency, gated or not.
`GET /counted` tells what has been counted in all.
"""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from skene import Skene
from skene.adapters.memory import MemoryStorage
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage
from skene.fastapi import Gate
from skene.ports.storage import Storage
from tests.benchmarks.contestants.by_hand import COUNT, INSERT, POOL, sqlalchemy_address, upsert
from tests.benchmarks.contestants.in_memory import counted_in
from tests.benchmarks.contestants.ours import METER, freemium, in_valkey, units_by_asking
from tests.benchmarks.web.endpoint import LIMIT, PATH, Counted, User, current_user, endpoint
from tests.benchmarks.web.libraries import LIBRARIES

__all__ = ["APPS", "app"]

COUNTED = f"SELECT coalesce(sum(used), 0) FROM skene_usage WHERE meter = '{METER}'"


def app() -> FastAPI:
    """The app that the environment names."""
    return APPS[os.environ["BENCH_APP"]]()


def ungated() -> FastAPI:
    return endpoint(FastAPI(), None)


def bare() -> FastAPI:
    """Does not even know who calls."""
    made = FastAPI()

    @made.post(PATH)
    async def work() -> dict[str, bool]:
        return {"done": True}

    return made


# -- ours --------------------------------------------------------------------------------------------------


def _gated(storage: Storage, counted: Counted, subject: Callable[..., Any] = current_user) -> FastAPI:
    skene = Skene(freemium(LIMIT), storage=storage)
    made = FastAPI(lifespan=skene.lifespan)
    Gate(skene, subject=subject).install(made)
    return endpoint(made, counted)


def skene_memory() -> FastAPI:
    storage = MemoryStorage()
    units = counted_in(storage)

    async def counted() -> int:
        return await units(METER)

    return _gated(storage, counted)


def skene_postgres() -> FastAPI:
    dsn = os.environ["BENCH_DSN"]

    async def counted() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return int(await connection.fetchval(COUNTED))
        finally:
            await connection.close()

    return _gated(PostgresStorage(dsn), counted)


def skene_sqlite() -> FastAPI:
    path = os.environ["BENCH_FILE"]

    async def counted() -> int:
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            return int(connection.execute(sa.text(COUNTED)).scalar_one())

    return _gated(SqliteStorage(path), counted)


def skene_valkey() -> FastAPI:
    rest = PostgresStorage(os.environ["BENCH_DSN"])
    storage = in_valkey(os.environ["BENCH_SOCKET"], 5, rest)
    assert storage is not None  # else it is not among those that are served
    called: set[str] = set()

    async def user(x_user: Annotated[str, Header()]) -> str:
        called.add(x_user)
        return x_user

    async def counted() -> int:
        return await units_by_asking(storage, METER, called)

    return _gated(storage, counted, user)


# -- by hand -----------------------------------------------------------------------------------------------


def asyncpg_by_hand() -> FastAPI:
    statement = upsert("http_asyncpg", "$1", "$2")

    @asynccontextmanager
    async def lifespan(made: FastAPI) -> AsyncGenerator[None]:
        async with asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=POOL, max_size=POOL) as pool:
            made.state.pool = pool
            yield

    async def gate(request: Request, user: User) -> None:
        if await request.app.state.pool.fetchval(statement, user, LIMIT) is None:
            raise HTTPException(402, "You have reached your limit.")

    made = FastAPI(lifespan=lifespan)

    async def counted() -> int:
        return int(await made.state.pool.fetchval("SELECT coalesce(sum(used), 0) FROM http_asyncpg"))

    return endpoint(made, counted, Depends(gate))


def naive() -> FastAPI:
    count, insert = sa.text(COUNT.format(table="http_events")), sa.text(INSERT.format(table="http_events"))
    engine = create_async_engine(sqlalchemy_address(os.environ["BENCH_DSN"]), pool_size=POOL, max_overflow=0)
    sessions = async_sessionmaker(engine)

    async def session() -> AsyncGenerator[AsyncSession]:
        async with sessions() as opened:
            yield opened

    async def gate(user: User, db: Annotated[AsyncSession, Depends(session)]) -> None:
        if (await db.execute(count, {"subject": user})).scalar_one() >= LIMIT:
            raise HTTPException(402, "You have reached your limit.")
        await db.execute(insert, {"subject": user})
        await db.commit()

    async def counted(db: Annotated[AsyncSession, Depends(session)]) -> int:
        return int((await db.execute(sa.text("SELECT count(*) FROM http_events"))).scalar_one())

    made = endpoint(FastAPI(), None, Depends(gate))
    made.add_api_route("/counted", counted)
    return made


APPS: dict[str, Callable[[], FastAPI]] = {
    "ungated": ungated,
    "bare": bare,
    "skene_memory": skene_memory,
    "skene_postgres": skene_postgres,
    "skene_sqlite": skene_sqlite,
    "skene_valkey": skene_valkey,
    "asyncpg_by_hand": asyncpg_by_hand,
    "naive": naive,
    **LIBRARIES,
}
