"""Hundreds of customers of whom the wrong thing is kept, on PostgreSQL; and a process killed over them."""

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from skene import UNLIMITED, Skene, action, condition, define_loop, step
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.tables import METADATA
from skene.adapters.stripe import StripeBilling
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.cli.project import SKENE
from tests.support.extent import amount
from tests.support.processes import ROOT
from tests.support.stripe_account import API_KEY, PLANS, WEBHOOK_SECRET

COUNT = amount(60, full=1_000)
"""A thousand take minutes, and sixty go the same way: SKENE_TEST_FULL=1 puts all right."""
FAST = 100_000
TABLES = (
    "skene_customers",
    "skene_subscriptions",
    "skene_conversions",
    "skene_syncs",
    "skene_webhook_events",
)

freemium = define_loop(
    type="freemium",
    steps=[
        step(
            condition=condition.usage(limit={"free": 1, "starter": 5, "pro": UNLIMITED}, period="30d"),
            action=action.block("Limit."),
        )
    ],
)


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    fake = FakeStripe(
        now=lambda: datetime.now(UTC),  # noqa: TID251 - the database and the local Stripe share the real time
        prices=PLANS,
        api_key=API_KEY,
        webhook_secret=WEBHOOK_SECRET,
    )
    with serving(fake.app) as url:
        fake.base_url = url
        yield fake


async def selling(dsn: str, stripe: FakeStripe) -> Skene:
    billing = StripeBilling(
        API_KEY, WEBHOOK_SECRET, PLANS, base_url=stripe.base_url, timeout=timedelta(seconds=10)
    )
    storage = PostgresStorage(dsn, timeout=timedelta(seconds=20))
    await storage.migrate()
    return Skene(freemium, storage=storage, billing=billing, secret="for links")


async def fill(stripe: FakeStripe, skene: Skene, count: int) -> dict[str, str]:
    """Customers, four of five known; then what no webhook tells. Returns what each should hold."""
    people = [f"user-{n:04}" for n in range(count)]
    for n, one in enumerate(people):
        if n % 5:
            await stripe.subscribe(one, "price_starter")
    assert (await skene.sync(rate=FAST)).in_order
    plans: dict[str, str] = {}
    for n, one in enumerate(people):
        match n % 5:
            case 0:
                await stripe.subscribe(one, "price_pro")
            case 1:
                await stripe.cancel(one)
            case 2:
                await stripe.switch_price(one, "price_pro")
            case 3:
                await stripe.delete_customer(one)
            case _:
                stripe._state.replace_price(stripe._subscription(one), None, "price_starter", 7)
        plans[one] = ("pro", "free", "pro", "free", "starter")[n % 5]
    return plans


async def dump(skene: Skene) -> dict[str, list[Any]]:
    def read(connection: sa.Connection, now: object) -> dict[str, list[Any]]:
        return {
            name: sorted(map(repr, connection.execute(sa.select(METADATA.tables[name])).all()))
            for name in TABLES
        }

    storage = skene.storage
    assert isinstance(storage, PostgresStorage)
    return await storage._read(read)


async def held(skene: Skene, plans: dict[str, str]) -> dict[str, str]:
    found = {one: await skene.storage.get_customer(one) for one in plans}
    return {one: (known.plan if known else None) or "free" for one, known in found.items()}


async def test_all_customers_are_put_right(postgres_dsn: str, stripe: FakeStripe) -> None:
    skene = await selling(postgres_dsn, stripe)
    async with skene:
        plans = await fill(stripe, skene, COUNT)
        before = await dump(skene)
        looked = await skene.sync(dry_run=True, rate=FAST)
        assert (looked.differed, len(looked.drifts), looked.repaired) == (COUNT, COUNT, 0)
        assert await dump(skene) == before
        done = await skene.sync(rate=FAST)
        assert (done.differed, done.repaired, done.in_order) == (COUNT, COUNT, True)
        assert {*done.drifts} == {*looked.drifts}
        assert await held(skene, plans) == plans
        asked = len(stripe.requests)
        again = await skene.sync(rate=FAST)
        assert (again.differed, again.in_order) == (0, True)
        assert len(stripe.requests) - asked <= 25
        asked = len(stripe.requests)
        assert (await skene.sync(dry_run=True, rate=FAST)).differed == 0
        assert len(stripe.requests) - asked <= 25


@pytest.mark.parametrize("after", [5, 50, 130])
async def test_a_killed_process_is_taken_over(after: int, postgres_dsn: str, stripe: FakeStripe) -> None:
    skene = await selling(postgres_dsn, stripe)
    async with skene:
        plans = await fill(stripe, skene, 80)
        asked = len(stripe.requests)
        command = [SKENE, "sync", "--rate", "100000"]
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SKENE_CONFIG": "tests.support.selling_app:skene",
            "APP_DATABASE": postgres_dsn,
            "APP_STRIPE": stripe.base_url,
        }
        process = subprocess.Popen(command, cwd=ROOT, env=env)
        with anyio.fail_after(60):
            while len(stripe.requests) - asked < after:
                await anyio.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL

        def lease_ends(connection: sa.Connection, now: object) -> int:
            syncs = METADATA.tables["skene_syncs"]
            ended = sa.update(syncs).where(syncs.c.finished_at.is_(None)).values(lease_until=None)
            return connection.execute(ended).rowcount

        storage = skene.storage
        assert isinstance(storage, PostgresStorage)
        assert await storage._write(lease_ends) == 1
        report = await skene.sync(rate=FAST)
        assert report.in_order
        assert await held(skene, plans) == plans
        assert (await skene.sync(rate=FAST)).differed == 0
