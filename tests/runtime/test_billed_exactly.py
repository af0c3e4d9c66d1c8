"""Every unit beyond the included on the bill once, whatever is given back, fails or gets lost on the way."""

import random  # noqa: TID251 - a seed makes it an argument
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import anyio
import httpx
import pytest

from skene import Skene, billed
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.stripe import StripeBilling
from skene.adapters.system import SystemClock
from skene.ports.billing import UsageReport
from skene.ports.outbox import MessageState
from skene.ports.storage import Storage
from skene.runtime.asks import Ask
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from skene.wiring import storage_from
from tests.runtime.shop import freemium
from tests.support.sql_stores import open_sql

UNITS = 2500
TASKS = 10
INCLUDED = 150
PEOPLE = ("ada", "bob", "cleo")
PERIOD = timedelta(days=1)
SEED = 2026


class Unreliable(httpx.ASGITransport):
    """A way to Stripe where a tenth of all reports fails there, and the answers to another tenth are lost.

    Both last for longer than the SDK repeats a request by itself.
    """

    def __init__(self, fake: FakeStripe) -> None:
        super().__init__(fake.app)
        self.chance = random.Random(SEED)  # noqa: S311 - a repeatable run, no secret
        self.troubles: Counter[str] = Counter()
        self.trouble: dict[str, list[str]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        trouble = self._trouble(request) if request.url.path == "/v1/billing/meter_events" else "none"
        self.troubles[trouble] += 1
        if trouble == "failed":
            body = {"error": {"type": "api_error", "message": "no"}}
            return httpx.Response(500, json=body, request=request)
        answer = await super().handle_async_request(request)
        if trouble == "lost":
            raise httpx.ReadError("lost")
        return answer

    def _trouble(self, request: httpx.Request) -> str:
        (identifier,) = parse_qs(request.content.decode())["identifier"]
        left = self.trouble.setdefault(identifier, [])
        if not left:
            fate = self.chance.random()
            kind = "failed" if fate < 0.1 else "lost" if fate < 0.2 else "none"
            left += [kind] * (1 if kind == "none" else 3)
        return left.pop()


class Till:
    """A Skene whose paid plan is billed by use, on a Stripe that is hard to reach."""

    def __init__(self, storage: Storage, clock: ManualClock, billing: type[StripeBilling]) -> None:
        self.clock = clock
        self.stripe = FakeStripe(now=clock.now, prices=("price_pro",))
        self.stripe.add_meter("api_calls")
        self.way = Unreliable(self.stripe)
        self.skene = Skene(
            freemium(5, paid=billed(included=INCLUDED, meter="api_calls"), period=PERIOD),
            storage=storage,
            billing=billing(
                self.stripe.api_key,
                self.stripe.webhook_secret,
                {"price_pro": "paid"},
                base_url=self.stripe.base_url,
                transport=self.way,
            ),
            notifiers={"mail": MemoryNotifier(templates="templates")},
            clock=clock,
        )
        self.used: Counter[tuple[str, datetime]] = Counter()
        self._chance = random.Random(SEED)  # noqa: S311 - as above

    async def subscribe(self) -> None:
        for subject in PEOPLE:
            await self.stripe.subscribe(subject, "price_pro")
            await self.skene.billing_sync.sync(str(self.stripe.customer(subject)))

    async def use_some(self, units: int) -> None:
        """One task's calls, one unit each, of which some fail and are given back: some after a report."""
        gatekeeper, (one,) = self.skene.gatekeeper, self.skene.program.steps
        late = []
        for _ in range(units):
            admission = await gatekeeper.admit(self._chance.choice(PEOPLE), (Ask(one, 1),))
            decision = admission.decision
            assert decision.allowed
            assert decision.window_start is not None
            window = (admission.subject, decision.window_start)
            self.used[window] += 1
            fate = self._chance.random()
            if fate < 0.1:
                await gatekeeper.release(admission)
                self.used[window] -= 1
            elif fate < 0.15:
                late.append((admission, window))
            elif fate < 0.17:
                await self.skene.worker.work_once()
        for admission, window in late:
            await gatekeeper.release(admission)
            self.used[window] -= 1

    async def deliver(self) -> None:
        """Everything that is due, and what failed again later, all within the hours of a window."""
        for _ in range(60):
            await self.skene.worker.drain()
            self.clock.advance(timedelta(seconds=5))

    def owed(self) -> dict[tuple[str, datetime], int]:
        return {window: max(0, used - INCLUDED) for window, used in self.used.items()}

    def billed(self) -> dict[tuple[str, datetime], int]:
        return {
            (subject, start): self.stripe.metered(subject, "api_calls", since=start, until=start + PERIOD)
            for subject, start in self.used
        }

    async def run(self) -> None:
        """Two windows of calls from several tasks, with deliveries between and at the same time."""
        await self.subscribe()
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(TASKS):
                    tasks.start_soon(self.use_some, UNITS // 2 // TASKS)
            await self.deliver()
            self.clock.advance(PERIOD)
        await self.deliver()


class Careless(StripeBilling):
    """Reports alike, and gives Stripe nothing to know a repeated report by."""

    async def report_usage(self, report: UsageReport, *, idempotency_key: str) -> None:
        await super().report_usage(report, idempotency_key=SystemClock().new_id())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK repeats at once: it would wait half a second by the wall clock."""

    async def at_once(self: object, seconds: float) -> None:
        return None

    monkeypatch.setattr("skene.adapters.stripe.connection._Http.sleep_async", at_once)


Open = Callable[[ManualClock], Awaitable[Storage]]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def opening(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[Storage] = []

    async def open_one(clock: ManualClock) -> Storage:
        if request.param == "memory":
            opened.append(MemoryStorage(clock=clock))
        else:
            postgres = request.param == "postgres"
            where = request.getfixturevalue("postgres_dsn") if postgres else str(tmp_path / "app.db")
            if postgres:
                fresh = storage_from(where)
                await fresh.migrate()
                await fresh.aclose()
            opened.append(await open_sql(where, clock))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.aclose()


@pytest.mark.usefixtures("quick")
async def test_the_bill_is_exact(opening: Open) -> None:
    clock = ManualClock()
    till = Till(await opening(clock), clock, StripeBilling)
    await till.run()
    assert len(till.used) == 2 * len(PEOPLE)
    assert till.billed() == till.owed()
    assert set(await till.skene.storage.outbox_counts()) == {MessageState.SENT}
    assert sum(till.owed().values()) > UNITS / 3
    assert min(till.way.troubles["failed"], till.way.troubles["lost"]) > 0


@pytest.mark.usefixtures("quick")
async def test_without_a_key_that_stays_units_are_billed_twice() -> None:
    clock = ManualClock()
    till = Till(MemoryStorage(clock=clock), clock, Careless)
    await till.run()
    assert till.way.troubles["lost"] > 0
    assert till.billed() != till.owed()
