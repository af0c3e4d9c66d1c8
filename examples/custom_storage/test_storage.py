import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from audited import AuditedStorage

from skene import Skene, action, condition, define_loop, step
from skene.testing import ManualClock
from skene.testing.conformance import StorageConformance, StorageFactory

exports = define_loop(
    type="freemium",
    steps=[
        step(
            condition=condition.usage(limit={"free": 2, "paid": 9}, period="30d", meter="exports"),
            action=action.block("No exports left."),
        ),
    ],
)


class TestAuditedStorage(StorageConformance):
    """Everything that skene's own storages are held to."""

    @pytest.fixture
    async def storage(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[AuditedStorage]:
        """Started, empty, and on the given clock."""
        storage = AuditedStorage(tmp_path / "app.db", tmp_path / "audit.jsonl", clock=clock)
        await storage.start()
        yield storage
        await storage.aclose()

    @pytest.fixture
    async def storage_factory(self, tmp_path: Path) -> AsyncIterator[StorageFactory]:
        """Opens one more over the same data, with the real clock, as another process would."""
        async with AsyncExitStack() as stack:

            async def open_one() -> AuditedStorage:
                storage = AuditedStorage(tmp_path / "shared.db", tmp_path / "audit.jsonl")
                await storage.start()
                stack.push_async_callback(storage.aclose)
                return storage

            yield open_one


async def test_every_charge_has_a_line(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    async with Skene(exports, storage=AuditedStorage(tmp_path / "app.db", audit)) as skene:
        with pytest.raises(RuntimeError, match="failed"):
            async with skene.reserve("ada", "exports", 2):
                raise RuntimeError("failed")
        for _ in range(3):
            await skene.consume("ada", "exports")
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["what"], line["who"], line["units"]) for line in lines] == [
        ("charged", "ada", 2),
        ("given back", "ada", 2),
        ("charged", "ada", 1),
        ("charged", "ada", 1),  # the third was refused
    ]
