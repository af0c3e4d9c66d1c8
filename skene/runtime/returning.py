"""What somebody who comes back from a checkout is told: how it really stands."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from skene.errors import CheckoutUnavailable
from skene.ports.billing import CheckoutResult
from skene.runtime.offering import address

__all__ = ["ReturnState", "Returned", "returned"]

ReturnState: TypeAlias = Literal["active", "confirming", "open", "expired"]
"""The plan is in force; it will be, once the payment is confirmed; not finished; too late to finish."""


@dataclass(frozen=True, slots=True)
class Returned:
    """How a checkout stands.

    Attributes:
        state: as above.
        url: where to go on: the checkout itself while it is open, a new one when it has expired; else None.
    """

    state: ReturnState
    url: str | None = field(default=None, repr=False)


def returned(result: CheckoutResult, *, in_force: bool, again: str | None) -> Returned:
    """Say how a checkout stands.

    Args:
        result: what the provider says of it.
        in_force: the plan it was about is in force now.
        again: a link to a new checkout for the same person.
    """
    if result.state == "complete":
        return Returned("active" if in_force and result.paid else "confirming")
    if result.state == "expired":
        return Returned("expired", again)
    try:
        return Returned("open", None if result.url is None else address(result.url))
    except CheckoutUnavailable:
        return Returned("open")
