"""How much of a scan is recorded at once."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

import skene.runtime.scanning as scanning
from skene.errors import StorageUnavailable
from skene.ports.firings import Outcome
from tests.runtime.shop import Shop
from tests.runtime.test_firing_lanes import PEOPLE, digest, next_tick, outcomes


@pytest.fixture
async def shop() -> Shop:
    """A tick that is due, and has 3,000 rows."""
    shop = Shop(digest())
    shop.memory.queries.answer(PEOPLE, [{"id": f"user-{n}"} for n in range(3_000)])
    await next_tick(shop)
    return shop


def watch(shop: Shop, monkeypatch: pytest.MonkeyPatch, *, takes: Callable[[int], float]) -> list[int]:
    """How many entries came at once, in a storage that takes some time for them, or fails."""
    sizes: list[int] = []
    record = shop.memory.record
    passed = 0.0

    async def watched(firing: Any, entries: tuple[Any, ...], **named: Any) -> Any:
        nonlocal passed
        sizes.append(len(entries))
        passed += takes(len(entries))
        return await record(firing, entries, **named)

    monkeypatch.setattr(shop.memory, "record", watched)
    monkeypatch.setattr(anyio, "current_time", lambda: passed)
    return sizes


async def drain(shop: Shop) -> None:
    while await shop.skene.worker.react_once():
        pass


async def test_a_quick_storage_gets_whole_batches(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows are done before the query's time is up."""
    sizes = watch(shop, monkeypatch, takes=lambda entries: 0.0)
    await drain(shop)
    assert sizes[0] == 100
    assert sizes[-2:] == [scanning.BATCH, 0]  # the last one closes the firing
    assert sum(sizes) == 3_000


async def test_a_slow_storage_gets_fewer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has one writer: whoever is counted waits no longer than a moment behind a scan."""
    sizes = watch(shop, monkeypatch, takes=lambda entries: entries / 200)
    await drain(shop)
    assert max(sizes[3:]) / 200 <= scanning.SLOW
    assert sum(sizes) == 3_000


async def test_what_is_too_much_at_once_is_recorded_in_parts(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L10: on a slow machine 100 entries may take longer than an answer; the scan ends all the same."""

    def takes(entries: int) -> float:
        if entries > 12:
            raise StorageUnavailable("PostgreSQL did not answer in time")
        return 1.0

    sizes = watch(shop, monkeypatch, takes=takes)
    await drain(shop)
    assert len([size for size in sizes if size > 12]) <= 3
    log = shop.memory.log()
    assert len({row.subject for row in log if row.outcome is Outcome.ACTED}) == 3_000
    assert outcomes(shop, "digest")[-1] is Outcome.SCANNED


async def test_a_storage_that_is_away_is_not_asked_for_ever(shop: Shop) -> None:
    """Decision 28: the scan is left to its lease."""
    await shop.skene.worker.react_once()
    shop.wire.cut.add("record")
    with pytest.raises(StorageUnavailable), anyio.fail_after(5):
        await shop.skene.worker.react_once()
    assert shop.wire.count("record") <= 4
