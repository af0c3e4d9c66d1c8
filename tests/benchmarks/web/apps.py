"""One endpoint behind different gates, each as its documentation has it: `uvicorn --factory …apps:app`.

`BENCH_APP` names the gate, `BENCH_DSN`, `BENCH_SOCKET` and `BENCH_FILE` where it counts, `BENCH_LIMIT` its
limit. Every app knows who calls, as apps do: the endpoint takes the user from a dependency, gated or not.
`GET /counted` tells what has been counted in all.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
import redis.asyncio
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from skene import Skene
from skene.adapters.memory import MemoryStorage
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage
from skene.fastapi import Gate
from skene.ports.storage import Storage
from tests.benchmarks.contestants.by_hand import COUNT, INSERT, sqlalchemy_address, upsert
from tests.benchmarks.contestants.in_memory import counted_in
from tests.benchmarks.contestants.ours import METER, freemium

__all__ = ["APPS", "app"]

LIMIT = int(os.environ.get("BENCH_LIMIT", "1000000000"))
PATH = "/api/features/work"
COUNTED = f"SELECT coalesce(sum(used), 0) FROM skene_usage WHERE meter = '{METER}'"
Counted = Callable[[], Awaitable[int]]


async def current_user(x_user: Annotated[str, Header()]) -> str:
    return x_user


User = Annotated[str, Depends(current_user)]


def user_of(request: Request) -> str:
    """The same, for those who look at the request themselves."""
    return request.headers["x-user"]


def app() -> FastAPI:
    """The app that the environment names."""
    return APPS[os.environ["BENCH_APP"]]()


def _endpoint(made: FastAPI, counted: Counted | None, *dependencies: Any) -> FastAPI:
    @made.post(PATH, dependencies=list(dependencies))
    async def work(user: User) -> dict[str, bool]:
        return {"done": bool(user)}

    if counted is not None:
        made.add_api_route("/counted", counted)
    return made


def ungated() -> FastAPI:
    return _endpoint(FastAPI(), None)


def bare() -> FastAPI:
    """Does not even know who calls."""
    made = FastAPI()

    @made.post(PATH)
    async def work() -> dict[str, bool]:
        return {"done": True}

    return made


# -- ours --------------------------------------------------------------------------------------------------


def _gated(storage: Storage, counted: Counted) -> FastAPI:
    skene = Skene(freemium(LIMIT), storage=storage)
    made = FastAPI(lifespan=skene.lifespan)
    Gate(skene, subject=current_user).install(made)
    return _endpoint(made, counted)


def skene_memory() -> FastAPI:
    storage = MemoryStorage()
    return _gated(storage, lambda: counted_in(storage)(METER))


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


# -- by hand -----------------------------------------------------------------------------------------------


def asyncpg_by_hand() -> FastAPI:
    statement = upsert("http_asyncpg", "$1", "$2")

    @asynccontextmanager
    async def lifespan(made: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=10, max_size=10) as pool:
            made.state.pool = pool
            yield

    async def gate(request: Request, user: User) -> None:
        if await request.app.state.pool.fetchval(statement, user, LIMIT) is None:
            raise HTTPException(402, "You have reached your limit.")

    made = FastAPI(lifespan=lifespan)

    async def counted() -> int:
        return int(await made.state.pool.fetchval("SELECT coalesce(sum(used), 0) FROM http_asyncpg"))

    return _endpoint(made, counted, Depends(gate))


def naive() -> FastAPI:
    count, insert = sa.text(COUNT.format(table="http_events")), sa.text(INSERT.format(table="http_events"))
    engine = create_async_engine(sqlalchemy_address(os.environ["BENCH_DSN"]))
    sessions = async_sessionmaker(engine)

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as opened:
            yield opened

    async def gate(user: User, db: Annotated[AsyncSession, Depends(session)]) -> None:
        if (await db.execute(count, {"subject": user})).scalar_one() >= LIMIT:
            raise HTTPException(402, "You have reached your limit.")
        await db.execute(insert, {"subject": user})
        await db.commit()

    async def counted(db: Annotated[AsyncSession, Depends(session)]) -> int:
        return int((await db.execute(sa.text("SELECT count(*) FROM http_events"))).scalar_one())

    made = _endpoint(FastAPI(), None, Depends(gate))
    made.add_api_route("/counted", counted)
    return made


# -- libraries ---------------------------------------------------------------------------------------------


def _slowapi(storage: str, counted: Callable[[Any], Awaitable[int]]) -> FastAPI:
    from slowapi import Limiter, _rate_limit_exceeded_handler
    from slowapi.errors import RateLimitExceeded

    limiter = Limiter(key_func=user_of, storage_uri=storage)
    made = FastAPI()
    made.state.limiter = limiter
    made.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)

    @made.post(PATH)
    @limiter.limit(f"{LIMIT}/30 days")
    async def work(request: Request, user: User) -> dict[str, bool]:
        return {"done": bool(user)}

    made.add_api_route("/counted", lambda: counted(limiter))
    return made


def slowapi_memory() -> FastAPI:
    async def counted(limiter: Any) -> int:
        return int(sum(limiter._storage.storage.values()))

    return _slowapi("memory://", counted)


def slowapi_redis() -> FastAPI:
    async def counted(_: Any) -> int:
        return await _redis_sum(2)

    return _slowapi(f"redis+unix://{os.environ['BENCH_SOCKET']}?db=2", counted)


async def _redis_sum(db: int) -> int:
    client = redis.asyncio.Redis(unix_socket_path=os.environ["BENCH_SOCKET"], db=db)
    try:
        return sum([int(await client.get(key)) async for key in client.scan_iter(count=1000)])
    finally:
        await client.aclose()


APPS: dict[str, Callable[[], FastAPI]] = {
    "ungated": ungated,
    "bare": bare,
    "skene_memory": skene_memory,
    "skene_postgres": skene_postgres,
    "skene_sqlite": skene_sqlite,
    "asyncpg_by_hand": asyncpg_by_hand,
    "naive": naive,
    "slowapi_memory": slowapi_memory,
    "slowapi_redis": slowapi_redis,
}
