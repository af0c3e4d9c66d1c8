"""Webhooks: what is read from real ones, and that nothing but a refusal comes of hostile ones."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skene.errors import WebhookRejected
from skene.ports.billing import Billing
from skene.testing.billing_conformance.base import BillingDriver, BillingSuite, assert_rejected, parsed

__all__ = ["BillingWebhooks"]

_QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


class BillingWebhooks(BillingSuite):
    """`Billing.parse_webhook`."""

    async def test_every_event_of_a_life_names_its_customer(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Bought, cancelled, taken back, behind, switched, paused, resumed, over."""
        customer = await driver.subscribe("ada", "starter")
        seen = len(driver.deliveries())
        assert seen
        for change in (
            driver.cancel("ada", at_period_end=True),
            driver.keep("ada"),
            driver.fall_behind("ada"),
            driver.switch("ada", "pro"),
            driver.pause("ada"),
            driver.resume("ada"),
            driver.cancel("ada"),
        ):
            await change
            events = parsed(billing, driver)
            assert customer in {event.customer for event in events[seen:]}, "a change nobody is told of"
            seen = len(events)
        events = parsed(billing, driver)
        assert {event.customer for event in events} <= {customer, None}
        assert {event.subject for event in events} <= {"ada", None}
        assert len({event.id for event in events}) == len(events)
        assert all(event.type for event in events)

    async def test_a_webhook_twice_is_the_same_event(self, billing: Billing, driver: BillingDriver) -> None:
        """Also when it is signed again, hours later: by its id it is known."""
        await driver.subscribe("ada", "starter")
        body, headers = driver.deliveries()[-1]
        first = billing.parse_webhook(body, headers, driver.now())
        assert billing.parse_webhook(body, headers, driver.now()) == first
        later = driver.now() + timedelta(hours=3)
        assert billing.parse_webhook(body, driver.sign(body, at=later), later) == first

    async def test_a_changed_body_is_rejected(self, billing: Billing, driver: BillingDriver) -> None:
        """By one byte, at either end; whatever it still says."""
        await driver.subscribe("ada", "starter")
        body, headers = driver.deliveries()[-1]
        for changed in (body + b" ", b" " + body, body[:-1], body.replace(b"ada", b"eve"), b""):
            if changed != body:
                await assert_rejected(billing, changed, headers, driver.now(), 401)

    async def test_another_secret_is_rejected(self, billing: Billing, driver: BillingDriver) -> None:
        """The empty one, too, and one that is nearly ours."""
        await driver.subscribe("ada", "starter")
        body, _ = driver.deliveries()[-1]
        for secret in ("", "x", driver.secrets[-1][:-1], driver.secrets[-1] + "x"):
            headers = driver.sign(body, at=driver.now(), secret=secret)
            await assert_rejected(billing, body, headers, driver.now(), 401)

    @pytest.mark.parametrize("age", [timedelta(hours=2), timedelta(hours=-2)], ids=["old", "future"])
    async def test_a_signature_of_another_time_is_rejected(
        self, billing: Billing, driver: BillingDriver, age: timedelta
    ) -> None:
        """Old or from the future, and well signed."""
        await driver.subscribe("ada", "starter")
        body, _ = driver.deliveries()[-1]
        await assert_rejected(billing, body, driver.sign(body, at=driver.now() - age), driver.now(), 400)
        assert billing.parse_webhook(body, driver.sign(body, at=driver.now()), driver.now()).id

    async def test_headers_that_cannot_be_signatures(self, billing: Billing, driver: BillingDriver) -> None:
        """Missing, empty, cut, doubled, over-long, of other letters, of another body."""
        await driver.subscribe("ada", "starter")
        body, headers = driver.deliveries()[-1]
        (name,) = [key for key in headers if key.endswith("signature")]
        good = headers[name]
        other = driver.sign(b"{}", at=driver.now())[name]
        bad = ["", " ", "=", "ü", "\ud800", good[:-1], good[: len(good) // 2], good.upper() + "=", other]
        bad += [good + "," * 100_000, good.replace("=", ":"), good.replace("1", "१"), f"{good};{good},{good}"]
        await assert_rejected(billing, body, {}, driver.now())
        for header in bad:
            await assert_rejected(billing, body, {**headers, name: header}, driver.now())

    async def test_any_header_is_taken_or_rejected(self, billing: Billing, driver: BillingDriver) -> None:
        """Never anything else."""
        body, headers = b"{}", driver.sign(b"{}", at=driver.now())
        (name,) = [key for key in headers if key.endswith("signature")]

        @_QUICK
        @given(st.text(max_size=200) | st.text("tsvh01=,;: 9ab", max_size=60))
        def check(header: str) -> None:
            with pytest.raises(WebhookRejected):
                billing.parse_webhook(body, {name: header}, driver.now())

        check()

    async def test_any_signed_bytes_are_read_or_rejected(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """The provider itself may be wrong, and a secret may be stolen."""
        signed = [b"", b"\xff\xfe", b"null", b"[]", b"7", b'"x"', b"\x00", b"{}", b"[" * 100_000]
        signed += [b'{"a":' * 100_000, b"1" * 5000, b"NaN", b'{"id":"\\ud800"}', "{'ü'}".encode("utf-16")]
        for body in signed:
            headers = driver.sign(body, at=driver.now())
            await assert_rejected(billing, body, headers, driver.now(), 400)

        @_QUICK
        @given(st.binary(max_size=200))
        def check(body: bytes) -> None:
            with pytest.raises(WebhookRejected):
                billing.parse_webhook(body, driver.sign(body, at=driver.now()), driver.now())

        check()

    async def test_any_value_in_any_place_is_read_or_rejected(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """A real event with one of its values exchanged for any other."""
        await driver.subscribe("ada", "starter")
        body, _ = driver.deliveries()[-1]
        places = list(_places(json.loads(body)))

        @_QUICK
        @given(st.sampled_from(places), _JSON)
        def check(place: tuple[Any, ...], value: Any) -> None:
            changed = json.dumps(_with(json.loads(body), place, value)).encode()
            try:
                event = billing.parse_webhook(changed, driver.sign(changed, at=driver.now()), driver.now())
            except WebhookRejected:
                return
            for field in (event.id, event.type):
                assert isinstance(field, str)
                assert field
            for name in (event.customer, event.subject, event.wall, event.checkout, event.payment):
                assert name is None or isinstance(name, str)

        check()

    async def test_an_event_of_the_other_mode_is_rejected(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """A test purchase gives nobody a plan. Where bodies say neither, each mode has its own secret."""
        other = driver.of_other_mode()
        assert (other is not None) is self.modes
        if other is not None:
            await assert_rejected(billing, *other, driver.now(), 400)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _places(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(cast("Sequence[Any]", value)):
            yield from _places(inner, (*path, position))


def _with(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return value
