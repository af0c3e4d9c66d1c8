"""Whether what is kept of a customer is what the billing service says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Any

from skene.engine.standing import Subscription

__all__ = ["OVER", "Verdict", "as_kept", "compare"]

OVER = frozenset({"canceled", "incomplete_expired"})
"""Statuses after which a subscription never changes again. Listings of living ones leave these out."""


class Verdict(StrEnum):
    """What a comparison found."""

    EQUAL = "equal"
    PARTLY = "partly"
    """What was listed is kept just so, but more is kept that lives: it may stand on another page."""
    DIFFERS = "differs"
    FORGOTTEN = "forgotten"
    """The customer belongs to somebody who was forgotten: nothing may be kept."""


def as_kept(subscriptions: Iterable[Subscription]) -> list[dict[str, Any]]:
    """Subscriptions as they are kept: plain JSON, in the order of their ids, instants as ISO 8601."""
    return [
        {name: _plain(value) for name, value in asdict(one).items()}
        for one in sorted(subscriptions, key=lambda one: one.id)
    ]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def compare(kept: Sequence[Mapping[str, Any]], listed: Sequence[Mapping[str, Any]]) -> Verdict:
    """Compare what is kept with a page of a listing.

    Args:
        kept: everything that is kept of one customer, ended subscriptions included, as `as_kept` wrote it. A
            release before may have written fewer fields: that differs.
        listed: some of the customer's subscriptions, those that are over left out or not.
    """
    known = {one.get("id"): _as_listed(one) for one in kept}
    if any(known.get(one["id"]) != _as_listed(one) for one in listed):
        return Verdict.DIFFERS
    living = {name for name, one in known.items() if one.get("status") not in OVER}
    return Verdict.EQUAL if living <= {one["id"] for one in listed} else Verdict.PARTLY


def _as_listed(one: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only a fetch says, and no listing."""
    return {name: value for name, value in one.items() if name != "unpaid_since"}
