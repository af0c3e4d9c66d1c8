"""Opens checkouts: a draft transaction that the person completes on a page with Paddle.js."""

from typing import Any

from skene.adapters.paddle.connection import Connection, PaddleRefused
from skene.adapters.paddle.naming import Naming
from skene.adapters.paddle.reading import SUBJECT_KEY, Json, mapping, objects, text
from skene.adapters.paddle.settings import Settings
from skene.errors import CheckoutUnavailable
from skene.ports.billing import CheckoutOrder, CheckoutResult, CheckoutSession, CheckoutState

__all__ = ["Seller", "result"]

_STATES: dict[str, CheckoutState] = {
    "draft": "open",
    "ready": "open",
    "billed": "complete",  # an invoice that waits for its money
    "past_due": "complete",
    "paid": "complete",
    "completed": "complete",
    "canceled": "expired",
}


class Seller:
    """Sells what the settings say.

    Args:
        connection: the way to Paddle.
        settings: what is sold, and where.
        naming: writes the names in custom data.
    """

    def __init__(self, connection: Connection, settings: Settings, naming: Naming) -> None:
        self._connection = connection
        self._settings = settings
        self._naming = naming

    async def open(self, order: CheckoutOrder) -> CheckoutSession:
        """Open a checkout for a customer who exists: the order's, or a new one named after its subject.

        Raises:
            CheckoutUnavailable: there is nothing to sell.
            PaddleRefused: Paddle sells it to nobody.
            ValueError: what answered was not Paddle.
        """
        price = self._price(order.plan)
        customer = order.customer or await self._customer(order)
        if customer is not None:
            try:
                return await self._create(order, price, customer)
            except PaddleRefused:
                # Archived since, or of another account; nobody should be kept from buying by that. If the
                # reason is another one, the next attempt tells.
                pass
        return await self._create(order, price, None)

    def _price(self, plan: str | None) -> str:
        price = self._settings.sells if plan is None else self._settings.sold.get(plan)
        if price is None:
            what = f"the plan {plan!r} has no price" if plan else "`plans` names no price to sell"
            raise CheckoutUnavailable(f'{what}; give checkout_price="pri_…" or list one in plans')
        return price

    async def _create(self, order: CheckoutOrder, price: str, customer: str | None) -> CheckoutSession:
        body: dict[str, Any] = {
            "items": [{"price_id": price, "quantity": 1}],
            "collection_mode": "automatic",
            "custom_data": self._naming.write(order.subject, order.wall),
        }
        if customer is not None:
            body["customer_id"] = customer
        if self._settings.checkout_page is not None:
            body["checkout"] = {"url": self._settings.checkout_page}
        made = await self._connection.post("/transactions", body)
        number, url = text(made.get("id")), text(mapping(made.get("checkout")).get("url"))
        if number is None:
            raise ValueError("a transaction without an id")
        if url is None:
            raise CheckoutUnavailable(
                "Paddle has no page to pay on: set a default payment link, or checkout_page"
            )
        return CheckoutSession(number, url, customer)

    async def _customer(self, order: CheckoutOrder) -> str | None:
        """A customer of the order's subject; None leaves it to the checkout to ask who they are.

        Paddle has one customer for each address. One that is there already is the subject's only if its
        custom data says so: an address that nobody has confirmed must not lead to what somebody else pays.
        """
        if not order.email:
            return None
        body = {"email": order.email, "custom_data": {SUBJECT_KEY: order.subject}}
        try:
            return text((await self._connection.post("/customers", body)).get("id"))
        except PaddleRefused as refused:
            if refused.status != 409:
                return None  # an address that Paddle does not take: the person types another
        found = await self._connection.get("/customers", {"email": order.email, "status": "active"})
        for one in objects(found["data"]):
            if mapping(one.get("custom_data")).get(SUBJECT_KEY) == order.subject:
                return text(one.get("id"))
        return None


def result(source: Json, naming: Naming) -> CheckoutResult:
    """What became of a transaction.

    Raises:
        KeyError: its status is none that Paddle has.
    """
    status = source["status"]
    subject, wall = naming.read(mapping(source.get("custom_data")))
    state = _STATES[status]
    return CheckoutResult(
        state=state,
        customer=text(source.get("customer_id")),
        subject=subject,
        wall=wall,
        paid=status in ("paid", "completed"),
        url=text(mapping(source.get("checkout")).get("url")) if state == "open" else None,
    )
