"""FakePaddle: the local Paddle as a test drives it."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from starlette.applications import Starlette

from skene.testing.paddle_server.http import Api, ApiCall
from skene.testing.paddle_server.objects import Obj
from skene.testing.paddle_server.state import State
from skene.testing.paddle_server.webhooks import PaddleWebhooks
from skene.testing.stripe_server.webhooks import Deliver

__all__ = ["FakePaddle"]


class FakePaddle:
    """A Paddle account in memory, with an API and signed webhooks.

    Args:
        now: the present, aware UTC; the account's time.
        prices: what can be bought: price ids (`pri_…`), at 20.00 USD a month.
        api_key: the only key the API accepts.
        webhook_secret: what webhooks are signed with.
        base_url: where this server can be reached. May be set later.
        default_link: the account's default payment link; None: it has none yet.
        deliver: takes a webhook's body and headers to the application and returns the status it answered.
        webhook_url: where webhooks are posted when there is no `deliver`; None: they are only recorded.

    Attributes:
        app: the server, an ASGI application.
        base_url: as above.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        prices: Iterable[str] = (),
        api_key: str = "pdl_sdbx_apikey_01local0paddle0api0key",
        webhook_secret: str = "pdl_ntfset_01local0paddle0signing0secret",
        base_url: str = "http://paddle.localhost",
        default_link: str | None = "http://app.test/pay",
        deliver: Deliver | None = None,
        webhook_url: str | None = None,
    ) -> None:
        self.api_key = api_key
        self.webhook_secret = webhook_secret
        self.base_url = base_url
        self._state = State(now)
        self._webhooks = PaddleWebhooks(webhook_secret, now)
        self._webhooks.deliver, self._webhooks.url = deliver, webhook_url
        self._api = Api(self._state, api_key, lambda: (self.base_url, default_link))
        self.app = Starlette(routes=[*self._api.routes(self._flush)])
        self._people: dict[str, str] = {}
        for price in prices:
            self.add_price(price)

    def __repr__(self) -> str:
        return f"<FakePaddle at {self.base_url}: {len(self._state.events)} events>"

    # --- what happened --------------------------------------------------------------------------------

    @property
    def events(self) -> list[Obj]:
        """Every event so far, oldest first; `send` takes any of them, in any order and number."""
        return list(self._state.events)

    @property
    def undelivered(self) -> list[Obj]:
        """Events that were dropped or not answered with 2xx."""
        return list(self._webhooks.undelivered)

    @property
    def requests(self) -> list[ApiCall]:
        """Every API request so far, refused ones included."""
        return list(self._api.requests)

    def get(self, number: str) -> Obj:
        """An entity as the account holds it, by its id; what is changed in it is changed, without an event.

        Raises:
            LookupError: there is none.
        """
        for table in self._state.tables.values():
            if number in table:
                return table[number]
        raise LookupError(f"there is no {number!r}")

    # --- faults ---------------------------------------------------------------------------------------

    @property
    def down(self) -> bool:
        """While set, every API request is answered with 503."""
        return self._api.down

    @down.setter
    def down(self, value: bool) -> None:
        self._api.down = value

    @property
    def delay(self) -> float:
        """How many seconds every API answer takes."""
        return self._api.delay.total_seconds()

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._api.delay = timedelta(seconds=seconds)

    @property
    def webhooks_dropped(self) -> bool:
        """While set, no webhook is delivered."""
        return self._webhooks.dropped

    @webhooks_dropped.setter
    def webhooks_dropped(self, value: bool) -> None:
        self._webhooks.dropped = value

    def fail(self, status: int, *, times: int = 1, retry_after: timedelta | None = None) -> None:
        """Answer the next API requests with an error, and perhaps a `Retry-After`."""
        self._api.fail(status, times, retry_after, None)

    def garble(self, text: str, *, times: int = 1) -> None:
        """Answer the next API requests with a text, as a proxy in Paddle's place does."""
        self._api.fail(200, times, None, text)

    def refuse_key(self) -> None:
        """Refuse the API key from now on, as if it had been revoked."""
        self._api.revoked = True

    def recover(self) -> None:
        """Answer properly again: no faults, no delay."""
        self._api.recover()

    # --- webhooks -------------------------------------------------------------------------------------

    def connect(self, deliver: Deliver | str) -> None:
        """Say where webhooks go: a function that delivers them, or the endpoint's address."""
        if isinstance(deliver, str):
            self._webhooks.deliver, self._webhooks.url = None, deliver
        else:
            self._webhooks.deliver, self._webhooks.url = deliver, None

    def headers(self, body: bytes) -> Mapping[str, str]:
        """What a webhook with this body is sent with, its signature included."""
        return self._webhooks.headers(body)

    async def send(self, event: Obj) -> bool:
        """Deliver an event now, dropped or not; whether the application answered with 2xx."""
        return await self._webhooks.send({**event, "notification_id": self._state.new_id("ntf")})

    async def redeliver(self) -> bool:
        """Try the undelivered events again, oldest first; whether none is left."""
        return await self._webhooks.redeliver()

    # --- what is sold, and what customers do ----------------------------------------------------------

    def add_price(
        self,
        price: str,
        *,
        amount: int = 2000,
        currency: str = "USD",
        product: str | None = None,
        trial_days: int = 0,
    ) -> None:
        """Put a monthly price on sale, or replace it."""
        of = product or f"pro_{price.removeprefix('pri_')}"
        self._state.create_price(price, of, amount, currency, trial_days)

    def customer(self, subject: str) -> str | None:
        """The id of the customer that a subject is known as here."""
        return self._people.get(subject) or self._find(subject)

    async def add_customer(self, subject: str, email: str | None = None) -> str:
        """Make a customer who is named after a subject and has bought nothing; the id."""
        address = email or f"person{len(self._people)}@customers.test"
        made = self._state.create_customer(address, None, {"skene_subject": subject})
        self._people[subject] = str(made["id"])
        await self._flush()
        return self._people[subject]

    async def subscribe(
        self,
        subject: str,
        price: str,
        *,
        quantity: int = 1,
        email: str | None = None,
        custom_data: Obj | None = None,
    ) -> str:
        """Let a subject subscribe, without a checkout; the subscription's id."""
        owner = self.customer(subject) or await self.add_customer(subject, email)
        made = self._state.subscribe(owner, [(price, quantity)], custom_data=custom_data)
        await self._flush()
        return str(made["id"])

    async def pay(self, transaction: str, email: str = "payer@customers.test") -> None:
        """Complete a transaction, as the page with Paddle.js does; `email` is typed if nobody is known."""
        self._state.complete(transaction, email)
        await self._flush()

    async def drop(self, transaction: str) -> None:
        """Cancel a transaction that nobody has paid."""
        self._state.change("transaction", transaction, {"status": "canceled"}, "transaction.canceled")
        await self._flush()

    async def cancel(self, subject: str, *, at_period_end: bool = False) -> None:
        """End a subject's subscription: at once, or with its period."""
        if at_period_end:
            self._state.schedule(self.subscription(subject), "cancel")
        else:
            self._state.cancel(self.subscription(subject))
        await self._flush()

    async def keep(self, subject: str) -> None:
        """Take a scheduled change back."""
        self._state.schedule(self.subscription(subject), None)
        await self._flush()

    async def fall_behind(self, subject: str) -> None:
        """Let the renewal of a subject's subscription fail, at this moment."""
        number = self.subscription(subject)
        self._state.begin_period(number, self._state.now(), "past_due", "subscription.past_due")
        await self._flush()

    async def pause(self, subject: str, *, at_period_end: bool = False) -> None:
        """Pause a subject's subscription: at once, or with its period."""
        if at_period_end:
            self._state.schedule(self.subscription(subject), "pause")
        else:
            self._state.pause(self.subscription(subject))
        await self._flush()

    async def resume(self, subject: str) -> None:
        """Resume a subject's paused subscription, which begins a period."""
        number = self.subscription(subject)
        self._state.begin_period(number, self._state.now(), "active", "subscription.resumed")
        await self._flush()

    async def switch_price(self, subject: str, price: str) -> None:
        """Put a subject's subscription on another price."""
        self._state.switch(self.subscription(subject), price)
        await self._flush()

    async def adjust(self, subject: str, action: str, amount: int, *, status: str = "approved") -> str:
        """Give a subject's last payment back in part (`refund`, `chargeback`, …); the adjustment's id."""
        made = self._state.adjust(self.payment(subject), action, amount, status)
        await self._flush()
        return str(made["id"])

    async def archive(self, subject: str) -> None:
        """Archive a subject's customer."""
        self._state.archive(self.customer(subject) or "")
        await self._flush()

    async def catch_up(self) -> None:
        """Let happen what is due by now: trials end, periods renew, scheduled changes take effect."""
        self._state.catch_up()
        await self._flush()

    def subscription(self, subject: str) -> str:
        """The id of a subject's latest subscription that is not over.

        Raises:
            LookupError: there is none.
        """
        owner = self.customer(subject)
        for number, one in reversed(self._state.tables["subscription"].items()):
            if one["customer_id"] == owner and one["status"] != "canceled":
                return number
        raise LookupError(f"{subject!r} has no subscription")

    def payment(self, subject: str) -> str:
        """The id of a subject's last completed transaction.

        Raises:
            LookupError: there is none.
        """
        owner = self.customer(subject)
        for number, one in reversed(self._state.tables["transaction"].items()):
            if one["customer_id"] == owner and one["status"] == "completed":
                return number
        raise LookupError(f"{subject!r} has paid nothing")

    # --- inside ---------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Deliver what has happened since the last time, in order."""
        while self._state.unsent:
            event = self._state.unsent.pop(0)
            await self._webhooks.offer({**event, "notification_id": self._state.new_id("ntf")})

    def _find(self, subject: str) -> str | None:
        for kind, field in (("customer", "id"), ("subscription", "customer_id")):
            for one in reversed(self._state.tables[kind].values()):
                custom: Obj = one["custom_data"] or {}
                if custom.get("skene_subject") == subject:
                    return str(one[field])
        return None
