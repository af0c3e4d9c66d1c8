"""A provider that is busy, broken, slow, or not the provider at all."""

import json
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

import anyio
import pytest

from skene.errors import BillingUnavailable
from skene.ports.billing import Billing
from skene.testing.billing_conformance.base import BillingDriver, BillingSuite, only_subscription, order

__all__ = ["BillingFaults"]

Call: TypeAlias = Callable[[], Awaitable[object]]
_EVERY = 9  # more often than any back-end repeats a call
_JUNK = ["", "<html>Bad gateway</html>", "null", "[]", '"data"', "{}", '{"data": 7}', '{"data": null}']


class BillingFaults(BillingSuite):
    """Everything that may work later is `BillingUnavailable`, soon enough, and shows no secret."""

    @pytest.mark.parametrize("status", [500, 502, 503, 429])
    async def test_a_provider_that_fails_is_unavailable(
        self, billing: Billing, driver: BillingDriver, status: int
    ) -> None:
        """In every call; and afterwards all is well again."""
        for name, call in (await self._calls(billing, driver)).items():
            driver.fail(status, times=_EVERY)
            with pytest.raises(BillingUnavailable) as caught:
                await call()
            _shows_nothing(caught.value, driver, name)
            driver.recover()
            await call()

    async def test_a_wish_to_be_left_alone_is_passed_on(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """`Retry-After` of a 429."""
        customer = await driver.subscribe("ada", "pro")
        driver.fail(429, times=_EVERY, retry_after=timedelta(seconds=17))
        with pytest.raises(BillingUnavailable) as caught:
            await billing.fetch(customer)
        assert caught.value.retry_after == timedelta(seconds=17)

    @pytest.mark.parametrize("text", _JUNK)
    async def test_an_answer_that_cannot_be_read_is_none(
        self, billing: Billing, driver: BillingDriver, text: str
    ) -> None:
        """A proxy's page in the provider's place says nothing of what was paid."""
        customer = await driver.subscribe("ada", "pro")
        driver.garble(text, times=_EVERY)
        with pytest.raises(BillingUnavailable):
            await billing.fetch(customer)
        driver.recover()
        driver.garble(json.dumps({"data": [1, None, "x"]}), times=_EVERY)
        with pytest.raises(BillingUnavailable):
            await billing.fetch(customer)

    async def test_a_hanging_provider_costs_no_more_than_the_timeout(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Somebody's request waits behind it."""
        customer = await driver.subscribe("ada", "pro")
        driver.hang(30)
        began = time.monotonic()
        with pytest.raises(BillingUnavailable):
            await billing.fetch(customer, timeout=timedelta(milliseconds=200))
        assert time.monotonic() - began < 2
        driver.recover()
        assert only_subscription(await billing.fetch(customer)).plan == "pro"

    async def test_every_call_ends_within_ten_seconds(self, billing: Billing, driver: BillingDriver) -> None:
        """All at once, so that this test does, too."""
        calls = await self._calls(billing, driver)
        driver.hang(60)
        ended: dict[str, bool] = {}

        async def end(name: str, call: Call) -> None:
            with anyio.move_on_after(12):
                try:
                    await call()
                except BillingUnavailable:
                    ended[name] = True

        async with anyio.create_task_group() as group:
            for name, call in calls.items():
                group.start_soon(end, name, call)
        assert ended == dict.fromkeys(calls, True)

    async def test_a_cancelled_call_is_cancelled(self, billing: Billing, driver: BillingDriver) -> None:
        """By the caller, and not turned into an error of the provider's."""
        customer = await driver.subscribe("ada", "pro")
        driver.hang(30)
        with anyio.move_on_after(0.1) as scope:
            await billing.fetch(customer)
        assert scope.cancelled_caught

    async def test_a_refused_key_is_told_without_the_key(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Providers quote parts of it; logs get none."""
        calls = await self._calls(billing, driver)
        driver.refuse_key()
        for name, call in calls.items():
            with pytest.raises(BillingUnavailable) as caught:
                await call()
            _shows_nothing(caught.value, driver, name)

    async def _calls(self, billing: Billing, driver: BillingDriver) -> dict[str, Call]:
        customer = await driver.subscribe("ada", "pro")
        session = (await billing.checkout(order(customer=customer), idempotency_key="key-0")).id or ""
        payment = await driver.payment("ada")
        number = iter(range(1000))
        return {
            "fetch": lambda: billing.fetch(customer),
            "checkout": lambda: billing.checkout(
                order(customer=customer), idempotency_key=f"key-{next(number)}"
            ),
            "checkout_result": lambda: billing.checkout_result(session),
            "portal": lambda: billing.portal(customer, return_url="https://app.test/"),
            "subscriptions": billing.subscriptions,
            "events": lambda: billing.events(driver.now() - timedelta(days=1)),
            "customer_of": lambda: billing.customer_of(payment),
        }


def _shows_nothing(error: BaseException, driver: BillingDriver, name: str) -> None:
    """The whole chain of causes, as a log prints it, gives no secret away, nor a good part of one."""
    told = ""
    while True:
        told += f"{error!r} {error} "
        following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if following is None:
            break
        error = following
    for secret in driver.secrets:
        assert secret not in told, name
        assert secret[-8:] not in told, name
