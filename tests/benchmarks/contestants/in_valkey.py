"""Gates on Valkey or Redis: a Lua script through redis-py, and `limits`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio
from limits import RateLimitItemPerDay
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from tests.benchmarks.contestants.gate import LIMIT, Gate

__all__ = ["client_of", "limits_in_valkey", "limits_storage", "redis_lua", "sum_of"]

SCRIPT = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
if used >= tonumber(ARGV[1]) then
  return 0
end
if redis.call('INCR', KEYS[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
"""
PERIOD_MS = 30 * 24 * 3600 * 1000


CONNECTIONS = 50


def client_of(socket: str | Path, db: int) -> redis.asyncio.Redis:
    """A client whose calls wait for a connection: the one that redis-py makes by itself fails beyond 100."""
    return redis.asyncio.Redis.from_pool(_pool(socket, db))


def limits_storage(socket: str | Path, db: int) -> RedisStorage:
    """The storage of `limits`, on redis-py, with a pool of the same kind."""
    return RedisStorage(
        f"async+redis+unix://{socket}?db={db}", implementation="redispy", connection_pool=_pool(socket, db)
    )


def _pool(socket: str | Path, db: int) -> redis.asyncio.BlockingConnectionPool:
    return redis.asyncio.BlockingConnectionPool.from_url(
        f"unix://{socket}?db={db}", max_connections=CONNECTIONS, timeout=None
    )


async def sum_of(client: redis.asyncio.Redis) -> int:
    """What all counters of a database hold together."""
    keys = [key async for key in client.scan_iter(count=1000)]
    parts = [keys[at : at + 1000] for at in range(0, len(keys), 1000)]
    return sum([int(value) for part in parts for value in await client.mget(part)])


@asynccontextmanager
async def redis_lua(name: str, socket: Path, db: int, limit: int = LIMIT) -> AsyncGenerator[Gate]:
    """A fixed window in a Lua script, called by its digest."""
    client = client_of(socket, db)
    script = client.register_script(SCRIPT)

    async def call(subject: str) -> bool:
        return bool(await script(keys=[f"usage:{subject}"], args=[limit, PERIOD_MS]))

    async def counted() -> int:
        return await sum_of(client)

    try:
        yield Gate(name, call, counted)
    finally:
        await client.aclose()


@asynccontextmanager
async def limits_in_valkey(name: str, socket: Path, db: int, limit: int = LIMIT) -> AsyncGenerator[Gate]:
    """`limits`, a fixed window, its asynchronous half on redis-py."""
    limiter = FixedWindowRateLimiter(limits_storage(socket, db))
    item = RateLimitItemPerDay(limit, 30)
    client = client_of(socket, db)

    async def call(subject: str) -> bool:
        return await limiter.hit(item, subject)

    async def counted() -> int:
        return await sum_of(client)

    try:
        yield Gate(name, call, counted)
    finally:
        await client.aclose()
