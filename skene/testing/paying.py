"""What comes of a wall: a page to pay at, and a payment."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from skene.testing.worlds import World

__all__ = ["Checkout", "Conversion"]

_SESSION = re.compile(r"/c/pay/(cs_\w+)$")


@dataclass(frozen=True, slots=True)
class Conversion:
    """A subject began to pay.

    Attributes:
        subject: who.
        loop, wall: what it is credited to, the wall by its id; None when no wall explains it.
        at: when.
        amount: of the first payment, in the currency's minor unit; None when unknown.
        currency: ISO 4217, lower case, or None.
    """

    subject: str
    loop: str | None
    wall: str | None
    at: datetime
    amount: int | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where an upgrade link has led a person.

    Attributes:
        url: the page's address.
        session: id of the Checkout session; None for any other page, such as the portal of somebody who pays
            already.
    """

    url: str
    session: str | None
    _world: "World" = field(repr=False)

    @classmethod
    def at(cls, url: str, world: "World") -> "Checkout":
        """What is at an address."""
        session = _SESSION.search(urlsplit(url).path)
        return cls(url, session.group(1) if session else None, world)

    async def pay(self, email: str | None = None, *, comes_back: bool = True) -> bool:
        """Pay: Stripe sends its webhooks, and the browser comes back to the app.

        Args:
            email: what the person types in, if Stripe asks for it.
            comes_back: False closes the browser first, so that the app hears of it from webhooks alone.

        Returns:
            Whether the app has seen, on their return, that the new plan is in force.

        Raises:
            AssertionError: this page is no checkout.
        """
        if self.session is None:
            raise AssertionError(f"there is nothing to pay at {self.url}")
        back = await self._world.stripe.pay(self.session, email)
        if not comes_back:
            return False
        returned = parse_qs(urlsplit(back).query)["session_id"][0]
        return (await self._world.skene.billing_sync.checkout_returned(returned)).state == "active"
