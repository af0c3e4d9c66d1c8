"""The endpoint behind libraries that limit rates. Only the bench group has them."""

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request

from tests.benchmarks.contestants.in_valkey import client_of, limits_storage, sum_of
from tests.benchmarks.web.endpoint import LIMIT, PATH, User, endpoint, user_of

__all__ = ["LIBRARIES"]

PERIOD_MS = 30 * 24 * 3600 * 1000


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

    @made.get("/counted")
    async def in_all() -> int:
        return await counted(limiter)

    return made


def slowapi_memory() -> FastAPI:
    async def counted(limiter: Any) -> int:
        return int(sum(limiter._storage.storage.values()))

    return _slowapi("memory://", counted)


def slowapi_redis() -> FastAPI:
    async def counted(_: Any) -> int:
        client = client_of(os.environ["BENCH_SOCKET"], 2)
        try:
            return await sum_of(client)
        finally:
            await client.aclose()

    return _slowapi(f"redis+unix://{os.environ['BENCH_SOCKET']}?db=2", counted)


def limits_redis() -> FastAPI:
    from limits import RateLimitItemPerDay
    from limits.aio.strategies import FixedWindowRateLimiter

    limiter = FixedWindowRateLimiter(limits_storage(os.environ["BENCH_SOCKET"], 3))
    item = RateLimitItemPerDay(LIMIT, 30)

    async def gate(user: User) -> None:
        if not await limiter.hit(item, user):
            raise HTTPException(429, "You have reached your limit.")

    async def counted() -> int:
        client = client_of(os.environ["BENCH_SOCKET"], 3)
        try:
            return await sum_of(client)
        finally:
            await client.aclose()

    return endpoint(FastAPI(), counted, Depends(gate))


def fastapi_limiter_redis() -> FastAPI:
    """A bucket for each user: with the one of its README, all users share the limit."""
    from fastapi_limiter.depends import RateLimiter
    from pyrate_limiter import BucketFactory, Limiter, Rate, RateItem, RedisBucket

    class PerUser(BucketFactory):
        script = ""

        def __init__(self, client: Any) -> None:
            self.client = client
            self.buckets: dict[str, RedisBucket] = {}

        def wrap_item(self, name: str, weight: int = 1) -> RateItem:
            return RateItem(name, time.time_ns() // 1_000_000, weight=weight)

        def get(self, item: RateItem) -> RedisBucket:
            bucket = self.buckets.get(item.name)
            if bucket is None:
                rates = [Rate(LIMIT, PERIOD_MS)]
                bucket = self.buckets[item.name] = RedisBucket(rates, self.client, item.name, self.script)
            return bucket

    client = client_of(os.environ["BENCH_SOCKET"], 4)
    factory = PerUser(client)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        # As the first bucket would do it; the others know the script by its digest.
        factory.script = (await RedisBucket.init([Rate(LIMIT, PERIOD_MS)], client, "first")).script_hash
        yield
        await client.aclose()

    async def identifier(request: Request) -> str:
        return user_of(request)

    async def counted() -> int:
        return sum([await client.zcard(key) async for key in client.scan_iter(count=1000)])

    gate = RateLimiter(limiter=Limiter(factory), identifier=identifier)
    return endpoint(FastAPI(lifespan=lifespan), counted, Depends(gate))


LIBRARIES: dict[str, Callable[[], FastAPI]] = {
    "slowapi_memory": slowapi_memory,
    "slowapi_redis": slowapi_redis,
    "limits_redis": limits_redis,
    "fastapi_limiter_redis": fastapi_limiter_redis,
}
