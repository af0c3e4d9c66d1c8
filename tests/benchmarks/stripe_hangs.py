"""What gated calls feel of a Stripe that hangs: their slowest hundredth, beside that while it answers.

Not a test: a number that depends on the machine fails for the wrong reasons. Run it by hand:

    python -m tests.benchmarks.stripe_hangs [seconds]

A real server process on a durable PostgreSQL; of ten callers eight pay for no limit, one has used up a plan
with a limit and one the free plan: both are customers, so Stripe is asked before they are refused.
"""

import statistics
import sys
import time
from collections import Counter

import anyio
import httpx

from skene.adapters.system import SystemClock
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from skene.wiring import storage_from
from tests.support.postgres import PostgresServer
from tests.support.processes import uvicorn_processes
from tests.support.stripe_account import API_KEY, PLANS, WEBHOOK_SECRET

APP = "tests.support.selling_app:app"
CALLERS = 8
PEOPLE = 40
LONGER_THAN_ANYBODY_WAITS = 120.0


async def calls(client: httpx.AsyncClient, seconds: float) -> tuple[list[float], Counter[tuple[str, int]]]:
    """How long calls took, in seconds, and who was answered how."""
    took: list[float] = []
    told: Counter[tuple[str, int]] = Counter()
    end, number = time.monotonic() + seconds, 0

    async def caller() -> None:
        nonlocal number
        while (begun := time.monotonic()) < end:
            number += 1
            kind = "starter" if number % 10 == 0 else "free" if number % 10 == 1 else "pro"
            subject = f"{kind} {number // 10 % PEOPLE}"
            answer = await client.post("/api/features/work", headers={"x-user": subject})
            took.append(time.monotonic() - begun)
            told[kind, answer.status_code] += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(CALLERS):
            tasks.start_soon(caller)
    return took, told


async def crowd(fake: FakeStripe, client: httpx.AsyncClient) -> None:
    """Everybody subscribes; those with a limit reach it, and those on the free plan have cancelled before."""
    for number in range(PEOPLE):
        await fake.subscribe(f"pro {number}", "price_pro")
        await fake.subscribe(f"starter {number}", "price_starter")
        await fake.subscribe(f"free {number}", "price_starter")
        await fake.cancel(f"free {number}")
    for kind, times in (("starter", 5), ("free", 1)):
        for number in range(PEOPLE):
            for _ in range(times):
                answer = await client.post("/api/features/work", headers={"x-user": f"{kind} {number}"})
                assert answer.status_code == 200, answer.text


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98] * 1000


async def main(seconds: float = 60) -> None:
    fake = FakeStripe(now=SystemClock().now, prices=PLANS, api_key=API_KEY, webhook_secret=WEBHOOK_SECRET)
    with PostgresServer(durable=True) as server, serving(fake.app) as stripe:
        dsn = server.create_database("hanging")
        storage = storage_from(dsn)
        await storage.migrate()  # type: ignore[attr-defined] # only SQL stores have it
        await storage.aclose()
        with uvicorn_processes(APP, 1, {"APP_DATABASE": dsn, "APP_STRIPE": stripe}) as (address,):
            async with httpx.AsyncClient(base_url=address, timeout=60) as client:
                fake.connect(f"{address}/skene/webhooks/stripe")
                await crowd(fake, client)
                await calls(client, 5)
                rounds: dict[str, list[float]] = {"answers": [], "hangs": []}
                for kind in ("answers", "hangs", "answers", "hangs", "answers"):
                    fake.delay = LONGER_THAN_ANYBODY_WAITS if kind == "hangs" else 0.0
                    asked = len(fake.requests)
                    took, told = await calls(client, seconds)
                    rounds[kind].append(p99(took))
                    refused = {who: told[who, 402] for who in ("pro", "starter", "free")}
                    others = sum(count for (_, status), count in told.items() if status not in (200, 402))
                    say(
                        f"Stripe {kind:7}: {len(took):6} calls, p50 {statistics.median(took) * 1000:.2f} ms, "
                        f"p99 {rounds[kind][-1]:.2f} ms, longest {max(took) * 1000:.0f} ms, asked "
                        f"{len(fake.requests) - asked} times, refused {refused}, answered otherwise {others}"
                    )
                ratio = statistics.mean(rounds["hangs"]) / statistics.mean(rounds["answers"])
                say(f"p99 while Stripe hangs: {ratio:.2f} of p99 while it answers")


if __name__ == "__main__":
    anyio.run(main, *(float(given) for given in sys.argv[1:]))
