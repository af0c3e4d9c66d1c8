"""Gates on Valkey or Redis: a Lua script through redis-py, and `limits`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio
from limits import RateLimitItemPerDay
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter

from tests.benchmarks.contestants.gate import LIMIT, Gate

__all__ = ["limits_in_valkey", "redis_lua"]

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


@asynccontextmanager
async def redis_lua(name: str, socket: Path, db: int, limit: int = LIMIT) -> AsyncIterator[Gate]:
    """A fixed window in a Lua script, called by its digest."""
    client = redis.asyncio.Redis(unix_socket_path=str(socket), db=db)
    script = client.register_script(SCRIPT)

    async def call(subject: str) -> bool:
        return bool(await script(keys=[f"usage:{subject}"], args=[limit, PERIOD_MS]))

    async def counted() -> int:
        return await _sum(client)

    try:
        yield Gate(name, call, counted)
    finally:
        await client.aclose()


@asynccontextmanager
async def limits_in_valkey(name: str, socket: Path, db: int, limit: int = LIMIT) -> AsyncIterator[Gate]:
    """`limits`, a fixed window, its asynchronous half on redis-py."""
    storage = RedisStorage(f"async+redis+unix://{socket}?db={db}", implementation="redispy")
    limiter = FixedWindowRateLimiter(storage)
    item = RateLimitItemPerDay(limit, 30)
    client = redis.asyncio.Redis(unix_socket_path=str(socket), db=db)

    async def call(subject: str) -> bool:
        return await limiter.hit(item, subject)

    async def counted() -> int:
        return await _sum(client)

    try:
        yield Gate(name, call, counted)
    finally:
        await client.aclose()


async def _sum(client: redis.asyncio.Redis) -> int:
    keys = [key async for key in client.scan_iter(count=1000)]
    return sum(
        [int(value) for at in range(0, len(keys), 1000) for value in await client.mget(keys[at : at + 1000])]
    )
