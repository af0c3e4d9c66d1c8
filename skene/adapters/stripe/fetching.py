"""Reads a customer and everything they subscribe to."""

from collections.abc import Sequence
from typing import TypeAlias

import anyio
import stripe

from skene.adapters.stripe.connection import UNREADABLE
from skene.adapters.stripe.reading import Json, items, mapping, plain

__all__ = ["Entry", "customer_and_subscriptions", "lines"]

Entry: TypeAlias = tuple[Json, Sequence[Json]]
"""A subscription and all of its items."""


async def customer_and_subscriptions(
    client: stripe.StripeClient, customer: str
) -> tuple[Json, Sequence[Entry]]:
    """Read both at the same time: somebody may be waiting for it.

    Returns:
        The customer, and every subscription, ended ones included, newest first.

    Raises:
        stripe.StripeError: whatever Stripe answers.
        ValueError: what answered was not Stripe.
    """
    found: list[Json] = []
    entries: list[Entry] = []
    errors: list[Exception] = []

    async def read_customer() -> None:
        try:
            found.append(plain(await client.v1.customers.retrieve_async(customer)))
        except (stripe.StripeError, *UNREADABLE) as error:
            errors.append(error)
            group.cancel_scope.cancel()

    async def read_subscriptions() -> None:
        try:
            page = await client.v1.subscriptions.list_async(
                {"customer": customer, "status": "all", "limit": 100}
            )
            async for entry in page.auto_paging_iter():
                source = plain(entry)
                entries.append((source, await lines(client, source)))
        except (stripe.StripeError, *UNREADABLE) as error:
            errors.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(read_customer)
        group.start_soon(read_subscriptions)
    if errors:
        raise errors[0]
    if found[0].get("object") != "customer":
        raise ValueError("that is no customer")
    return found[0], entries


async def lines(client: stripe.StripeClient, source: Json) -> Sequence[Json]:
    """All items of a subscription; Stripe embeds only the first ones."""
    embedded = mapping(source.get("items"))
    if embedded.get("has_more") is not True:
        return items(embedded)
    page = await client.v1.subscription_items.list_async({"subscription": source["id"], "limit": 100})
    return [plain(entry) async for entry in page.auto_paging_iter()]
