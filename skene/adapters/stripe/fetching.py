"""Reads a customer, everything they subscribe to, and what they are entitled to."""

from collections.abc import Sequence
from typing import TypeAlias

import stripe

from skene.adapters.at_once import at_once
from skene.adapters.stripe.connection import is_missing
from skene.adapters.stripe.reading import Json, items, mapping, plain

__all__ = ["Entry", "customer_and_subscriptions", "lines"]

Entry: TypeAlias = tuple[Json, Sequence[Json]]
"""A subscription and all of its items."""


async def customer_and_subscriptions(
    client: stripe.StripeClient, customer: str, *, features: bool = False
) -> tuple[Json, Sequence[Entry], Sequence[str]]:
    """Read all of it at the same time: somebody may be waiting for it.

    Args:
        client: of the SDK.
        customer: whose.
        features: read what the customer is entitled to, too.

    Returns:
        The customer; every subscription, ended ones included, newest first; the lookup keys of the features,
        sorted.

    Raises:
        stripe.StripeError: whatever Stripe answers.
        ValueError: what answered was not Stripe.
    """
    found: list[Json] = []
    entries: list[Entry] = []
    held: set[str] = set()

    async def read_customer() -> None:
        found.append(plain(await client.v1.customers.retrieve_async(customer)))

    async def read_subscriptions() -> None:
        page = await client.v1.subscriptions.list_async({"customer": customer, "status": "all", "limit": 100})
        async for entry in page.auto_paging_iter():
            source = plain(entry)
            entries.append((source, await lines(client, source)))

    async def read_features() -> None:
        held.update(await _features(client, customer))

    await at_once(read_customer, read_subscriptions, *([read_features] if features else ()))
    if found[0].get("object") != "customer":
        raise ValueError("that is no customer")
    return found[0], entries, sorted(held)


async def _features(client: stripe.StripeClient, customer: str) -> Sequence[str]:
    """The lookup keys of what a customer is entitled to; nothing for one that was deleted."""
    try:
        page = await client.v1.entitlements.active_entitlements.list_async(
            {"customer": customer, "limit": 100}
        )
        return [plain(entry)["lookup_key"] async for entry in page.auto_paging_iter()]
    except stripe.InvalidRequestError as error:
        if is_missing(error, "customer"):  # whether there ever was one is for the customer itself to say
            return []
        raise


async def lines(client: stripe.StripeClient, source: Json) -> Sequence[Json]:
    """All items of a subscription; Stripe embeds only the first ones."""
    embedded = mapping(source.get("items"))
    if embedded.get("has_more") is not True:
        return items(embedded)
    page = await client.v1.subscription_items.list_async({"subscription": source["id"], "limit": 100})
    return [plain(entry) async for entry in page.auto_paging_iter()]
