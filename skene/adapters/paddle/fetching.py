"""Reads a customer and everything they subscribe to."""

from typing import Any

from skene.adapters.at_once import at_once
from skene.adapters.paddle.connection import Connection
from skene.adapters.paddle.naming import Naming
from skene.adapters.paddle.reading import SUBJECT_KEY, Json, mapping, subscription, text
from skene.adapters.paddle.settings import Settings
from skene.ports.billing import Account

__all__ = ["account"]

_ALL = "active,canceled,past_due,paused,trialing"
_HOLDING = ("active", "past_due", "trialing")


async def account(
    connection: Connection,
    customer: str,
    settings: Settings,
    naming: Naming,
) -> Account:
    """Read customer and subscriptions at the same time: somebody may be waiting for it.

    Disputes are looked for only if they matter, and where a subscription gives something.

    Raises:
        PaddleRefused, BillingUnavailable: as the connection does.
        ValueError: what answered was not Paddle.
    """
    params = {"customer_id": customer, "status": _ALL, "per_page": "200"}
    found: list[Json] = []
    listed: list[Json] = []

    async def read_customer() -> None:
        found.append(await connection.get(f"/customers/{customer}"))

    async def read_subscriptions() -> None:
        listed.extend(await connection.pages("/subscriptions", params))

    await at_once(read_customer, read_subscriptions)
    person = mapping(found[0]["data"])
    if person.get("id") != customer:
        raise ValueError("that is another customer, or none")
    if any(one.get("customer_id") != customer for one in listed):
        raise ValueError("that is another customer's subscription")
    named = [text(mapping(person.get("custom_data")).get(SUBJECT_KEY))]
    named += [naming.read(mapping(one.get("custom_data")))[0] for one in reversed(listed)]
    matters = settings.disputed == "default" and any(one.get("status") in _HOLDING for one in listed)
    return Account(
        customer=customer,
        subject=next((subject for subject in named if subject), None),
        email=text(person.get("email")),
        subscriptions=tuple(subscription(one, settings.plans, settings.order) for one in listed),
        disputed=matters and await _disputed(connection, customer),
    )


async def _disputed(connection: Connection, customer: str) -> bool:
    """Whether a payment was charged back, and has not been won back since."""
    adjustments = await connection.pages("/adjustments", {"customer_id": customer, "status": "approved"})

    def payments(action: str) -> set[Any]:
        return {one.get("transaction_id") for one in adjustments if one.get("action") == action}

    return bool(payments("chargeback") - payments("chargeback_reverse"))
