"""What a Paddle account holds, and what can happen to it."""

import copy
from collections.abc import Callable, Sequence
from datetime import datetime

from skene.testing.paddle_server.objects import (
    Obj,
    add_cycle,
    adjustment,
    customer,
    item,
    parsed,
    price,
    subscription,
    transaction,
    written,
)

__all__ = ["ApiFault", "State"]


class ApiFault(Exception):
    """A request that is answered with an error.

    Attributes:
        status, code, detail: of the answer.
        headers: sent with it.
    """

    def __init__(
        self, code: str, detail: str, status: int = 400, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = headers or {}


class State:
    """The account.

    Attributes:
        tables: entities by kind and id, oldest first.
        events: everything that happened, oldest first.
        unsent: what has not been offered to the webhook yet.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.tables: dict[str, dict[str, Obj]] = {
            kind: {} for kind in ("price", "customer", "subscription", "transaction", "adjustment")
        }
        self.events: list[Obj] = []
        self.unsent: list[Obj] = []
        self._count = 0

    def new_id(self, prefix: str) -> str:
        """An id that sorts after every earlier one."""
        self._count += 1
        return f"{prefix}_01{self._count:024d}"

    def moment(self) -> str:
        """The present, as Paddle writes it."""
        return written(self.now())

    def find(self, kind: str, number: object) -> Obj:
        """An entity.

        Raises:
            ApiFault: there is none.
        """
        found = self.tables[kind].get(number) if isinstance(number, str) else None
        if found is None:
            raise ApiFault("not_found", f"Entity {number} not found", 404)
        return found

    # --- what is sold, and who buys -------------------------------------------------------------------

    def create_price(self, number: str, product: str, amount: int, currency: str, trial_days: int) -> None:
        """Put a monthly price on sale, or replace it."""
        self.tables["price"][number] = price(number, product, amount, currency, "month", trial_days)

    def create_customer(self, email: str, name: str | None = None, custom_data: Obj | None = None) -> Obj:
        """A new customer.

        Raises:
            ApiFault: somebody has that address already.
        """
        for other in self.tables["customer"].values():
            if other["email"].lower() == email.lower():
                detail = f"customer email conflicts with customer of id {other['id']}"
                raise ApiFault("customer_already_exists", detail, 409)
        made = customer(self.new_id("ctm"), self.moment(), email, name, custom_data)
        self.tables["customer"][made["id"]] = made
        self.tell("customer.created", made)
        return made

    def archive(self, number: str) -> None:
        """Archive a customer, who buys nothing any more."""
        self.change("customer", number, {"status": "archived"}, "customer.updated")

    # --- transactions ---------------------------------------------------------------------------------

    def create_transaction(
        self, lines: Sequence[tuple[str, int]], origin: str, **more: Obj | str | None
    ) -> Obj:
        """A draft; `more` are the fields `customer_id` and `custom_data`."""
        items = [
            {"price_id": number, "price": self.find("price", number), "quantity": count}
            for number, count in lines
        ]
        made = transaction(self.new_id("txn"), self.moment(), items, origin, None)
        made.update(more)
        self.tables["transaction"][made["id"]] = made
        self.tell("transaction.created", made)
        return made

    def complete(self, number: str, email: str) -> Obj:
        """Pay a transaction, which begins the subscription it is for.

        Raises:
            ApiFault: it cannot be paid any more.
        """
        sale = self.find("transaction", number)
        if sale["status"] not in ("draft", "ready"):
            raise ApiFault("transaction_immutable", f"the transaction is {sale['status']}")
        owner = sale["customer_id"] or self._buyer(email)
        self.change("transaction", number, {"customer_id": owner, "status": "ready"}, "transaction.ready")
        paid = {"status": "paid", "billed_at": self.moment()}
        self.change("transaction", number, paid, "transaction.paid")
        lines = [(line["price"]["id"], line["quantity"]) for line in sale["items"]]
        begun = self.subscribe(owner, lines, custom_data=sale["custom_data"], sale=sale)
        done = {"status": "completed", "subscription_id": begun["id"]}
        self.change("transaction", number, done, "transaction.completed")
        return sale

    def _buyer(self, email: str) -> str:
        for one in self.tables["customer"].values():
            if one["email"].lower() == email.lower():
                return str(one["id"])
        return str(self.create_customer(email)["id"])

    def adjust(self, number: str, action: str, amount: int, status: str) -> Obj:
        """Give something of a transaction back, or let a bank do so."""
        made = adjustment(
            self.new_id("adj"), self.moment(), self.find("transaction", number), action, amount, status
        )
        self.tables["adjustment"][made["id"]] = made
        self.tell("adjustment.created", made)
        return made

    # --- subscriptions --------------------------------------------------------------------------------

    def subscribe(
        self,
        owner: str,
        lines: Sequence[tuple[str, int]],
        *,
        custom_data: Obj | None = None,
        sale: Obj | None = None,
    ) -> Obj:
        """Begin a subscription, and bill it unless `sale` did."""
        prices = [(self.find("price", number), count) for number, count in lines]
        start = self.now()
        trial_period = prices[0][0]["trial_period"]
        end = add_cycle(start, trial_period or prices[0][0]["billing_cycle"])
        status = "trialing" if trial_period else "active"
        trial = {"starts_at": written(start), "ends_at": written(end)} if trial_period else None
        items = [item(one, count, status, written(start), written(end), trial) for one, count in prices]
        made = subscription(
            self.new_id("sub"),
            written(start),
            owner,
            items,
            status=status,
            period_end=written(end),
            custom_data=custom_data,
        )
        self.tables["subscription"][made["id"]] = made
        if sale is None:
            more: dict[str, Obj | str | None] = {"customer_id": owner, "custom_data": custom_data}
            sale = self.create_transaction(lines, "web", **more)
            done = {"status": "completed", "subscription_id": made["id"], "billed_at": self.moment()}
            self.change("transaction", sale["id"], done, "transaction.completed")
        self.tell("subscription.created", made)
        self.tell("subscription.trialing" if trial_period else "subscription.activated", made)
        return made

    def cancel(self, number: str) -> None:
        """End a subscription at once."""
        ended = {"status": "canceled", "canceled_at": self.moment(), **_STOPPED}
        self.change("subscription", number, ended, "subscription.updated", "subscription.canceled")

    def pause(self, number: str) -> None:
        """Pause a subscription at once."""
        paused = {"status": "paused", "paused_at": self.moment(), **_STOPPED}
        self.change("subscription", number, paused, "subscription.updated", "subscription.paused")

    def schedule(self, number: str, action: str | None) -> None:
        """Let a subscription be canceled or paused at the end of its period; None takes that back."""
        one = self.find("subscription", number)
        at = one["current_billing_period"]["ends_at"] if action else None
        change = {"action": action, "effective_at": at, "resume_at": None} if action else None
        billed = None if action else one["current_billing_period"]["ends_at"]
        self.change(
            "subscription",
            number,
            {"scheduled_change": change, "next_billed_at": billed},
            "subscription.updated",
        )

    def begin_period(self, number: str, start: datetime, status: str, *kinds: str) -> None:
        """Begin a billing period."""
        end = written(add_cycle(start, self.find("subscription", number)["billing_cycle"]))
        begun: Obj = {
            "status": status,
            "paused_at": None,
            "current_billing_period": {"starts_at": written(start), "ends_at": end},
            "next_billed_at": end,
        }
        if self.find("subscription", number)["first_billed_at"] is None:
            begun["first_billed_at"] = written(start)
        self.change("subscription", number, begun, "subscription.updated", *kinds)

    def switch(self, number: str, to: str) -> None:
        """Put a subscription on another price, in the same period."""
        one = self.find("subscription", number)
        old = one["items"][0]
        line = {**old, "price": self.find("price", to)}
        line["product"] = {"id": line["price"]["product_id"], "name": "", "status": "active"}
        self.change("subscription", number, {"items": [line]}, "subscription.updated")

    def catch_up(self) -> None:
        """Let happen what is due by now: trials end, periods renew, scheduled changes take effect."""
        now = self.now()
        for number, one in list(self.tables["subscription"].items()):
            while (period := one["current_billing_period"]) and parsed(period["ends_at"]) <= now:
                planned = one["scheduled_change"]
                if planned is not None:
                    (self.cancel if planned["action"] == "cancel" else self.pause)(number)
                else:
                    self.begin_period(number, parsed(period["ends_at"]), "active")

    # --- inside ---------------------------------------------------------------------------------------

    def change(self, kind: str, number: str, changes: Obj, *events: str) -> None:
        """Change an entity and tell of it."""
        one = self.find(kind, number)
        one.update(changes, updated_at=self.moment())
        for event in events:
            self.tell(event, one)

    def tell(self, kind: str, source: Obj) -> None:
        """Record an event with the entity as it is now."""
        event = {
            "event_id": self.new_id("evt"),
            "event_type": kind,
            "occurred_at": self.moment(),
            "data": copy.deepcopy(source),  # what was told must not change with the entity
        }
        self.events.append(event)
        self.unsent.append(event)


_STOPPED: Obj = {"current_billing_period": None, "next_billed_at": None, "scheduled_change": None}
