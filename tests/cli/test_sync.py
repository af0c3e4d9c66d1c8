"""`skene sync`, against a local Stripe."""

import json
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import anyio
import pytest

from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.cli.project import LOOP, Project
from tests.cli.test_worker import wait_for

STRIPE = """
import os
from datetime import timedelta

from skene.adapters.stripe import StripeBilling

skene = Skene(
    freemium,
    storage=SqliteStorage("app.db"),
    billing=StripeBilling(
        "sk_test_local0stripe",
        "whsec_local0stripe0signing0secret",
        {"price_1": "paid"},
        base_url=os.environ["LOCAL_STRIPE"],
    ),
    notifiers={"resend": FileNotifier("outbox")},
)
"""


@pytest.fixture
def stripe(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    empty.write("skene_config.py", LOOP + STRIPE)
    fake = FakeStripe(
        now=lambda: datetime.now(UTC),  # noqa: TID251 - the command has the real clock
        prices=("price_1",),
    )
    with serving(fake.app) as url:
        monkeypatch.setenv("LOCAL_STRIPE", url)
        yield fake


def test_it_shows_what_differs_and_puts_it_right(empty: Project, stripe: FakeStripe) -> None:
    anyio.run(stripe.subscribe, "ada", "price_1")
    looked = empty.run("sync", "--dry-run", "--rate", "1000")
    assert looked.exit_code == 1
    assert "ada" in looked.stdout
    assert "1 differed" in looked.stdout
    done = empty.run("sync", "--json", "--rate", "1000")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["repaired"], found["drifts"][0]["after"]) == (1, "paid")
    assert empty.run("sync", "--dry-run", "--rate", "1000").exit_code == 0


def test_what_cannot_be_is_refused(empty: Project, stripe: FakeStripe) -> None:
    assert empty.run("sync", "--rate", "0").exit_code == 2
    assert empty.run("sync", "--since", "1 month").exit_code == 2
    assert empty.run("sync", "--watch", "often").exit_code == 2


def test_plans_set_by_hand_are_left_alone(project: Project) -> None:
    refused = project.run("sync")
    assert refused.exit_code == 1
    assert "by hand" in refused.stderr


def test_watching_goes_on_through_an_outage_and_ends_when_told(empty: Project, stripe: FakeStripe) -> None:
    stripe.down = True
    with empty.start("sync", "--watch", "1s", "--rate", "1000") as process:
        wait_until(lambda: len(stripe.requests) > 3)
        stripe.down = False
        anyio.run(stripe.subscribe, "ada", "price_1")
        wait_for(process, "1 repaired")
        wait_for(process, "done: 1 checked")  # the next round
        process.send_signal(signal.SIGTERM)
        wait_for(process, "stopped")
        assert process.wait(15) == 0


def wait_until(happened: Callable[[], bool]) -> None:
    async def look() -> None:
        with anyio.fail_after(30):
            while not happened():
                await anyio.sleep(0.01)

    anyio.run(look)
