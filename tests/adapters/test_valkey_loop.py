"""The freemium loop from the first call to the payment, counted in Valkey."""

from collections.abc import Mapping

import pytest

from skene import Reason, Skene
from skene.adapters.memory import MemoryStorage
from skene.adapters.valkey import ValkeyStorage
from skene.testing.clock import ManualClock
from tests.runtime.shop import Post, freemium, profile
from tests.runtime.till import LIMITS, billing, fake_stripe
from tests.support.valkey import ValkeyServer


async def test_the_freemium_loop() -> None:
    clock, mail = ManualClock(), Post()
    stripe = fake_stripe(clock)
    with ValkeyServer() as server:
        skene = Skene(
            freemium(limits=LIMITS, notify_at=(0.6,)),
            storage=ValkeyStorage(server.url, storage=MemoryStorage(clock=clock), clock=clock),
            billing=billing(stripe),
            notifiers={"mail": mail},
            profile=profile,
            clock=clock,
            worker=False,
        )

        async def receive(body: bytes, headers: Mapping[str, str]) -> int:
            await skene.billing_sync.receive(body, headers)
            return 200

        stripe.connect(receive)
        async with skene:
            for used in (1, 2, 3):
                decision = await skene.consume("ada", "calls")
                assert (decision.allowed, decision.used) == (True, used)
            refused = [await skene.consume("ada", "calls") for _ in range(3)]
            assert {one.reason for one in refused} == {Reason.LIMIT_REACHED}
            assert len({one.wall for one in refused}) == 1
            await skene.worker.drain()
            assert [one.to for one in mail.sent] == ["ada@acme.test"] * 2  # a warning, and one prompt
            await stripe.subscribe("ada", "price_pro")
            assert (await skene.consume("ada", "calls")).reason is Reason.UNLIMITED
            (row,) = await skene.funnel()
            assert (row.walls, row.prompts, row.conversions) == (1, 1, 1)
            with pytest.raises(ZeroDivisionError):
                async with skene.reserve("bob", "calls", 1):
                    raise ZeroDivisionError
            assert (await skene.check("bob", "calls")).used == 0
