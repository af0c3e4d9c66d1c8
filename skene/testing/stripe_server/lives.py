"""The ways a subscription lives: what happens to it after it was bought."""

from abc import ABC, abstractmethod

from skene.testing.stripe_server import payments
from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.state import State

__all__ = ["Lives"]

_DEAD = ("canceled", "incomplete_expired")


class Lives(ABC):
    """What a `FakeStripe` lets happen to subscriptions, each with the webhooks that Stripe would send."""

    _state: State
    _people: dict[str, str]

    @abstractmethod
    def customer(self, subject: str) -> str | None:
        """The id of the customer that a subject was last known as here, deleted or not."""

    @abstractmethod
    async def _flush(self) -> None:
        """Deliver what has happened since the last time, in order."""

    @abstractmethod
    def _known_price(self, price: str | None) -> str:
        """The id of a price that is on sale."""

    async def cancel(self, subject: str, *, at_period_end: bool = False) -> None:
        """End a subject's subscription: at once, or with its period."""
        number = self._subscription(subject)
        if at_period_end:
            self._state.schedule_end(number, True)
        else:
            self._state.cancel(number)
        await self._flush()

    async def keep(self, subject: str) -> None:
        """Take a cancellation at the period's end back."""
        self._state.schedule_end(self._subscription(subject), False)
        await self._flush()

    async def set_status(self, subject: str, status: str) -> None:
        """Give a subject's subscription another status.

        `past_due` begins a period at this moment, since that is what its payment failed for.
        """
        number = self._subscription(subject)
        if status == "canceled":
            self._state.cancel(number)
        else:
            changes: Obj = {"status": status}
            if status == "past_due":
                changes["billing_cycle_anchor"] = self._state.seconds()
            self._state.update(number, changes)
            if status == "active":
                self._state.pay_invoices(number)
            if status == "past_due":
                self._state.start_period(number, self._state.seconds())
        await self._flush()

    async def switch_price(self, subject: str, price: str) -> None:
        """Put a subject's subscription on another price, now."""
        number = self._subscription(subject)
        self._state.replace_price(number, None, self._known_price(price), self._quantity(number))
        await self._flush()

    async def schedule_price(self, subject: str, price: str) -> None:
        """Put a subject's subscription on another price when its period ends; `catch_up` does it."""
        self._state.schedule_price(self._subscription(subject), self._known_price(price))
        await self._flush()

    async def change_quantity(self, subject: str, quantity: int) -> None:
        """Let a subject's subscription be of more, or of fewer, e.g. seats."""
        number = self._subscription(subject)
        price = self._state.get("subscription", number)["items"]["data"][0]["price"]["id"]
        self._state.replace_price(number, None, price, quantity)
        await self._flush()

    async def pause_collection(self, subject: str) -> None:
        """Collect nothing for a subject's subscription for the time being; it stays active."""
        pause = {"behavior": "void", "resumes_at": None}
        self._state.update(self._subscription(subject), {"pause_collection": pause})
        await self._flush()

    async def resume_collection(self, subject: str) -> None:
        """Collect again."""
        self._state.update(self._subscription(subject), {"pause_collection": None})
        await self._flush()

    async def refund(self, subject: str, amount: int | None = None) -> str:
        """Give a subject's latest payment back, or part of it; returns the payment's id.

        Raises:
            LookupError: there is no payment.
            ValueError: more than is left of it.
        """
        charge = payments.refund(self._state, self._owner(subject), amount)
        await self._flush()
        return str(charge["id"])

    async def dispute(self, subject: str) -> str:
        """Let a subject dispute their latest payment at their bank; returns the payment's id."""
        made = payments.dispute(self._state, self._owner(subject))
        await self._flush()
        return str(made["charge"])

    async def settle_dispute(self, subject: str, *, won: bool) -> None:
        """Decide a subject's latest dispute, for the account (won) or for the subject."""
        payments.settle_dispute(self._state, self._owner(subject), "won" if won else "lost")
        await self._flush()

    async def pause(self, subject: str) -> None:
        """Pause a subject's subscription."""
        number = self._subscription(subject)
        self._state.update(number, {"status": "paused"}, "customer.subscription.paused")
        await self._flush()

    async def resume(self, subject: str) -> None:
        """Resume a subject's paused subscription."""
        number = self._subscription(subject)
        self._state.update(number, {"status": "active"}, "customer.subscription.resumed")
        await self._flush()

    async def delete_customer(self, subject: str) -> None:
        """Delete a subject's customer, which ends its subscriptions."""
        owner = self._owner(subject)
        self._people[subject] = owner
        self._state.delete_customer(owner)
        await self._flush()

    async def catch_up(self) -> None:
        """Let happen what is due by now.

        Trials end, periods renew (those of a subscription that is past due unpaid), scheduled prices begin,
        cancelled subscriptions end.
        """
        now = self._state.seconds()
        for number, one in list(self._state.tables["subscription"].items()):
            while one["status"] in ("active", "trialing", "past_due"):
                ends = one["items"]["data"][0]["current_period_end"]
                if ends > now:
                    break
                if one["cancel_at"] is not None and one["cancel_at"] <= ends:
                    self._state.cancel(number)
                else:
                    if one["status"] == "trialing":
                        self._state.update(number, {"status": "active"})
                    self._state.start_scheduled(number)
                    self._state.start_period(number, ends)
        await self._flush()

    # --- inside ---------------------------------------------------------------------------------------

    def _owner(self, subject: str) -> str:
        owner = self.customer(subject)
        if owner is None:
            raise LookupError(f"{subject!r} is no customer")
        return owner

    def _subscription(self, subject: str) -> str:
        owner = self.customer(subject)
        owned = self._state.subscriptions_of(owner) if owner else []
        living = [one for one in owned if one["status"] not in _DEAD]
        if not living:
            raise LookupError(f"{subject!r} has no subscription")
        return str(living[-1]["id"])

    def _quantity(self, number: str) -> int:
        return int(self._state.items[number][0]["quantity"])
