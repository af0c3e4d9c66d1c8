"""What the local Stripe holds, and the events that its changes cause."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skene.engine.window import cycle_edges
from skene.testing.stripe_server import objects
from skene.testing.stripe_server.faults import ApiFault
from skene.testing.stripe_server.objects import Obj

__all__ = ["ApiFault", "Sold", "State"]

_EMBEDDED_ITEMS = 20  # Stripe shows this many items inside a subscription; the rest have to be listed


@dataclass(frozen=True, slots=True)
class Sold:
    """What a Checkout session sells: prices with quantities, the metadata of the subscription, its trial."""

    lines: Sequence[tuple[str, int]]
    metadata: Mapping[str, str]
    trial_days: int = 0


class State:
    """All objects by their ids, oldest first, and every event so far.

    Args:
        now: the present, aware UTC.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._count = 0
        # Ids of two runs on one database must differ, since events are told apart by them for ever.
        self._stamp = f"{int(now().timestamp() * 1000):x}"
        self.tables: dict[str, dict[str, Obj]] = {
            kind: {}
            for kind in (
                "customer",
                "product",
                "price",
                "subscription",
                "checkout.session",
                "billing_portal.session",
                "invoice",
                "charge",
                "refund",
                "dispute",
                "billing.meter",
                "billing.meter_event",
                "entitlements.feature",
            )
        }
        self.items: dict[str, list[Obj]] = {}
        self.sold: dict[str, Sold] = {}
        self.scheduled: dict[str, str] = {}
        self.product_features: dict[str, list[str]] = {}
        self.entitled: dict[str, tuple[str, ...]] = {}
        self.events: list[Obj] = []
        self.unsent: list[Obj] = []

    def seconds(self) -> int:
        """The present as a Unix time."""
        return int(self._now().timestamp())

    def new_id(self, prefix: str) -> str:
        """An id that no other object has."""
        self._count += 1
        return f"{prefix}_{self._stamp}{self._count:06}"

    def get(self, kind: str, number: str, param: str = "id") -> Obj:
        """An object by its id.

        Raises:
            ApiFault: 404, there is none.
        """
        found = self.tables[kind].get(number)
        if found is None:
            message = f"No such {kind}: '{number}'"
            raise ApiFault(message, status=404, code="resource_missing", param=param)
        return found

    def emit(self, kind: str, source: Obj, previous: Obj | None = None) -> None:
        """Record an event about an object as it is now."""
        number = self.new_id("evt")
        event = objects.event(number, self.seconds(), kind, deepcopy(source), previous)
        self.events.append(event)
        self.unsent.append(event)

    # --- customers ------------------------------------------------------------------------------------

    def create_customer(
        self, *, email: str | None = None, name: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> Obj:
        """Add a customer."""
        made = objects.customer(self.new_id("cus"), self.seconds(), email, name, dict(metadata or {}))
        self.tables["customer"][made["id"]] = made
        self.emit("customer.created", made)
        return made

    def delete_customer(self, number: str) -> Obj:
        """Delete a customer, which ends its subscriptions."""
        found = self.get("customer", number)
        for one in self.subscriptions_of(number):
            if one["status"] not in ("canceled", "incomplete_expired"):
                self.cancel(one["id"])
        self.tables["customer"][number] = {"id": number, "object": "customer", "deleted": True}
        self.emit("customer.deleted", found)
        return self.tables["customer"][number]

    def living_customer(self, number: str) -> Obj:
        """A customer who has not been deleted, named by a request's `customer` parameter.

        Raises:
            ApiFault: there is none.
        """
        found = self.tables["customer"].get(number)
        if found is None or found.get("deleted"):
            raise ApiFault(f"No such customer: '{number}'", code="resource_missing", param="customer")
        return found

    # --- prices ---------------------------------------------------------------------------------------

    def create_product(self, number: str, name: str) -> Obj:
        """Add a product, unless it is there already."""
        table = self.tables["product"]
        if number not in table:
            table[number] = objects.product(number, self.seconds(), name)
        return table[number]

    def create_price(
        self, number: str, product: str, amount: int, currency: str, interval: str, lookup_key: str | None
    ) -> Obj:
        """Add a price, its product too if need be; a product's first price is its default."""
        owner = self.create_product(product, product)
        made = objects.price(number, self.seconds(), product, amount, currency, interval, lookup_key)
        self.tables["price"][number] = made
        owner["default_price"] = owner["default_price"] or number
        return made

    # --- subscriptions --------------------------------------------------------------------------------

    def subscribe(
        self,
        customer: str,
        lines: Sequence[tuple[str, int]],
        *,
        status: str = "active",
        trial_days: int = 0,
        metadata: Mapping[str, str] | None = None,
    ) -> Obj:
        """Add a subscription.

        Args:
            customer: an id.
            lines: price id and quantity of every item.
            status: what it starts as.
            trial_days: how long the trial lasts, if there is one; the first period is the trial.
            metadata: of the subscription.

        Raises:
            ApiFault: a customer or price does not exist, or a price does not recur.
        """
        self.living_customer(customer)
        now = self.seconds()
        prices = [self.recurring_price(number, f"items[{i}][price]") for i, (number, _) in enumerate(lines)]
        if not prices:
            raise ApiFault("Missing required param: items.", code="parameter_missing", param="items")
        number = self.new_id("sub")
        made = objects.subscription(number, now, customer, prices[0]["currency"], dict(metadata or {}))
        made["status"] = status
        if trial_days:
            ends = now + trial_days * 86_400
            made.update(status="trialing", trial_start=now, trial_end=ends, billing_cycle_anchor=ends)
        self.items[number] = [
            objects.subscription_item(
                self.new_id("si"), now, number, price, quantity, self._first_period(made, price)
            )
            for price, (_, quantity) in zip(prices, lines, strict=True)
        ]
        self._embed(made)
        self.tables["subscription"][number] = made
        if made["status"] in ("active", "past_due"):
            self.bill(number)
        self.emit("customer.subscription.created", made)
        return made

    def bill(self, number: str) -> None:
        """Write an invoice for a subscription's period; it is paid at once unless that is past due."""
        found = self.get("subscription", number)
        total = sum(
            (line["price"]["unit_amount"] or 0) * (line["quantity"] or 0) for line in self.items[number]
        )
        invoice = objects.invoice(self.new_id("in"), self.seconds(), found, total)
        self.tables["invoice"][invoice["id"]] = invoice
        if found["status"] == "active" and found["pause_collection"]:
            invoice["status"] = "void"
        elif found["status"] == "active":
            self._pay(invoice)

    def pay_invoices(self, number: str) -> None:
        """Pay everything that is owed for a subscription."""
        for invoice in self.tables["invoice"].values():
            details = invoice["parent"]["subscription_details"]
            if details["subscription"] == number and invoice["status"] == "open":
                self._pay(invoice)

    def _pay(self, invoice: Obj) -> None:
        invoice["status"] = "paid"
        if invoice["total"]:
            charge = objects.charge(self.new_id("ch"), self.seconds(), self.new_id("pi"), invoice)
            self.tables["charge"][charge["id"]] = charge

    def schedule_price(self, number: str, price: str) -> None:
        """Let another price begin with the next period."""
        found = self.get("subscription", number)
        self.scheduled[number] = price
        schedule = self.new_id("sub_sched")
        made = {"id": schedule, "object": "subscription_schedule", "customer": found["customer"]}
        self.emit("subscription_schedule.created", {**made, "metadata": {}, "status": "active"})
        self.update(number, {"schedule": schedule})

    def start_scheduled(self, number: str) -> None:
        """Begin with a price that was scheduled, if one was."""
        price = self.scheduled.pop(number, None)
        if price is not None:
            self.get("subscription", number)["schedule"] = None
            self.replace_price(number, None, price, self.items[number][0]["quantity"])

    def recurring_price(self, number: str, param: str) -> Obj:
        """A price that a subscription can have.

        Raises:
            ApiFault: there is none.
        """
        found = self.tables["price"].get(number)
        if found is None:
            raise ApiFault(f"No such price: '{number}'", code="resource_missing", param=param)
        if found["type"] != "recurring":
            raise ApiFault("The price specified is set to `type=one_time`, not recurring.", param=param)
        return found

    def subscriptions_of(self, customer: str) -> list[Obj]:
        """A customer's subscriptions, oldest first."""
        return [one for one in self.tables["subscription"].values() if one["customer"] == customer]

    def update(self, number: str, changes: Mapping[str, Any], *kinds: str) -> Obj:
        """Change fields of a subscription.

        Args:
            number: its id.
            changes: new values by field.
            kinds: events to emit before `customer.subscription.updated`.
        """
        found = self.get("subscription", number)
        previous = {name: deepcopy(found[name]) for name, value in changes.items() if found[name] != value}
        found.update(changes)
        for kind in kinds:
            self.emit(kind, found)
        if previous:
            self.emit("customer.subscription.updated", found, previous)
        return found

    def schedule_end(self, number: str, at_period_end: bool) -> Obj:
        """Let a subscription end with its period, or take that back."""
        ends = self.items[number][0]["current_period_end"] if at_period_end else None
        canceled_at = self.seconds() if at_period_end else None
        changes = {"cancel_at_period_end": at_period_end, "cancel_at": ends, "canceled_at": canceled_at}
        return self.update(number, changes)

    def cancel(self, number: str) -> Obj:
        """End a subscription at once.

        Raises:
            ApiFault: it has ended already.
        """
        found = self.get("subscription", number)
        if found["status"] == "canceled":
            raise ApiFault(
                f"No such subscription: '{number}'", status=404, code="resource_missing", param="id"
            )
        now = self.seconds()
        found.update(status="canceled", canceled_at=found["canceled_at"] or now, ended_at=now)
        self.emit("customer.subscription.deleted", found)
        return found

    def replace_price(self, number: str, item: str | None, price: str, quantity: int = 1) -> Obj:
        """Put another price on one item of a subscription (the first one, unless told which)."""
        found = self.get("subscription", number)
        chosen = self.recurring_price(price, "items[0][price]")
        line = next((line for line in self.items[number] if item in (None, line["id"])), None)
        if line is None:
            raise ApiFault(
                f"No such subscription item: '{item}'", code="resource_missing", param="items[0][id]"
            )
        before = deepcopy(found["items"])
        line.update(price=chosen, quantity=quantity)
        self._embed(found)
        self.emit("customer.subscription.updated", found, {"items": before})
        return found

    def start_period(self, number: str, start: int) -> Obj:
        """Let a new billing period begin."""
        found = self.get("subscription", number)
        before = deepcopy(found["items"])
        for line in self.items[number]:
            line["current_period_start"] = start
            line["current_period_end"] = self._period_end(start, found["billing_cycle_anchor"], line["price"])
        self._embed(found)
        self.bill(number)
        self.emit("customer.subscription.updated", found, {"items": before})
        return found

    # --- checkouts ------------------------------------------------------------------------------------

    def complete(self, number: str, email: str | None = None, *, settled: bool = True) -> Obj:
        """Let a person go through with a Checkout session.

        Args:
            number: the session's id. One that is complete already stays as it is.
            email: what the person typed, if the session has no customer.
            settled: the money is there; else the bank takes its days.

        Raises:
            ApiFault: there is no such session, or it has expired.
        """
        session = self.get("checkout.session", number)
        if session["status"] == "complete":
            return session
        if session["status"] != "open":
            raise ApiFault("This session has expired.")
        email = email or session["customer_email"]
        owner = session["customer"] or self.create_customer(email=email)["id"]
        sold = self.sold[number]
        status = "active" if settled else "incomplete"
        bought = self.subscribe(
            owner, sold.lines, status=status, trial_days=sold.trial_days, metadata=sold.metadata
        )
        due = "no_payment_required" if sold.trial_days else "paid" if settled else "unpaid"
        session.update(
            customer=owner,
            customer_details={"email": email or self.tables["customer"][owner]["email"], "name": None},
            payment_status=due,
            status="complete",
            subscription=bought["id"],
            url=None,
        )
        self.emit("checkout.session.completed", session)
        return session

    def settle_session(self, number: str) -> None:
        """Let the payment of a completed session come through.

        Raises:
            ApiFault: there is no such session.
        """
        session = self.get("checkout.session", number)
        session["payment_status"] = "paid"
        self.update(session["subscription"], {"status": "active"})
        self.bill(session["subscription"])
        self.emit("checkout.session.async_payment_succeeded", session)

    def expire(self, number: str) -> Obj:
        """Let a Checkout session expire.

        Raises:
            ApiFault: there is no such session, or it is not open.
        """
        session = self.get("checkout.session", number)
        if session["status"] != "open":
            raise ApiFault("Only open sessions can be expired.")
        session.update(status="expired", url=None)
        self.emit("checkout.session.expired", session)
        return session

    def _first_period(self, owner: Obj, price: Obj) -> tuple[int, int]:
        start = owner["created"]
        return start, owner["trial_end"] or self._period_end(start, start, price)

    def _period_end(self, start: int, anchor: int, price: Obj) -> int:
        interval, count = objects.billing_cycle(price)
        begin = datetime.fromtimestamp(start, UTC)
        counted_from = datetime.fromtimestamp(anchor, UTC)
        edges = cycle_edges(
            begin, begin, anchor=counted_from, interval=interval, interval_count=count, ahead=2
        )
        return int(next(edge for edge in edges if edge > begin).timestamp())

    def _embed(self, owner: Obj) -> None:
        lines = self.items[owner["id"]]
        url = f"/v1/subscription_items?subscription={owner['id']}"
        shown = deepcopy(lines[:_EMBEDDED_ITEMS])
        owner["items"] = objects.listing(shown, url, has_more=len(lines) > _EMBEDDED_ITEMS)
