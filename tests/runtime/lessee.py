"""An app whose one step leases units, and hands on what it holds."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from skene.runtime.gate import Admission
from skene.runtime.leases import Leases
from tests.runtime.shop import Shop, ask, freemium


@asynccontextmanager
async def leasing(limit: Any = 100, *, lease: int | None = 10, **options: Any) -> AsyncGenerator[Shop]:
    """An app that runs, without its worker."""
    shop = Shop(freemium(limit, lease=lease, **options), worker=False)
    async with running(shop):
        yield shop


@asynccontextmanager
async def running(shop: Shop) -> AsyncGenerator[Shop]:
    async with shop.skene.lifespan():
        shop.wire.verbs.clear()
        yield shop


def leases_of(shop: Shop) -> Leases:
    return shop.skene._leases


async def sweep(shop: Shop) -> None:
    await leases_of(shop).sweep()


def counted(shop: Shop, subject: str = "ada") -> int:
    """What the storage has counted, in the window that was opened last."""
    return sum(units for who, _, _, units in shop.memory.counts() if who == subject)


def unspent(shop: Shop) -> int:
    return sum(lease.left for lease in leases_of(shop)._table)


async def admit(shop: Shop, units: int = 1, subject: str = "ada") -> Admission:
    return await shop.skene.gatekeeper.admit(subject, ask(shop, units))
