"""FakeStripe: the local Stripe as a test or a demo drives it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from difflib import get_close_matches

from starlette.applications import Starlette

from skene.testing.stripe_server.http import Api, ApiCall
from skene.testing.stripe_server.lives import Lives
from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.pages import Pages
from skene.testing.stripe_server.state import State
from skene.testing.stripe_server.usage import create_feature, create_meter, emit_summaries, sum_of
from skene.testing.stripe_server.webhooks import Deliver, Order, Webhooks

__all__ = ["FakeStripe"]


class FakeStripe(Lives):
    """A Stripe account in memory, with an API, pages, and signed webhooks.

    Args:
        now: the present, aware UTC; the account's time.
        prices: what can be bought; see `stock`.
        api_key: the only key the API accepts.
        webhook_secret: what webhooks are signed with.
        base_url: where this server can be reached, for the addresses of its pages. May be set later.
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
        api_key: str = "sk_test_local0stripe",
        webhook_secret: str = "whsec_local0stripe0signing0secret",
        base_url: str = "http://stripe.localhost",
        deliver: Deliver | None = None,
        webhook_url: str | None = None,
    ) -> None:
        self.api_key = api_key
        self.webhook_secret = webhook_secret
        self.base_url = base_url
        self._now = now
        self._state = State(now)
        self._webhooks = Webhooks(webhook_secret, now)
        self._webhooks.deliver, self._webhooks.url = deliver, webhook_url
        self._api = Api(self._state, api_key, lambda: self.base_url)
        self._people: dict[str, str] = {}
        pages = Pages(self._state, self._flush)
        self.app = Starlette(routes=[*self._api.routes(self._flush), *pages.routes()])
        self.stock(prices)

    def __repr__(self) -> str:
        return f"<FakeStripe at {self.base_url}: {len(self._state.events)} events>"

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
        """An object as the account holds it, by its id; what is changed in it is changed, without an event.

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

    def fail(
        self, status: int, *, times: int = 1, retry_after: timedelta | None = None, path: str = "/v1/"
    ) -> None:
        """Answer the next API requests with an error.

        Args:
            status: e.g. 429.
            times: how many of them. The SDK repeats a request twice on its own after a 5xx.
            retry_after: sent as a header.
            path: only requests whose path begins so.
        """
        self._api.fail(status, times, retry_after, path)

    # --- webhooks -------------------------------------------------------------------------------------

    def connect(self, deliver: Deliver | str) -> None:
        """Say where webhooks go: a function that delivers them, or the endpoint's address."""
        if isinstance(deliver, str):
            self._webhooks.deliver, self._webhooks.url = None, deliver
        else:
            self._webhooks.deliver, self._webhooks.url = deliver, None

    async def send(self, event: Obj) -> bool:
        """Deliver an event now, dropped or not; whether the application answered with 2xx."""
        return await self._webhooks.send(event)

    async def redeliver(self) -> bool:
        """Try the undelivered events again, oldest first; whether none is left."""
        return await self._webhooks.redeliver()

    def held(self, order: Order = list, *, copies: int = 1) -> AbstractAsyncContextManager[None]:
        """Hold webhooks back while an `async with` block runs; then deliver them, in any order and number.

        Args:
            order: takes all that are to come, oldest first, and returns those that arrive, in that order:
                `reversed`, a shuffle of yours. What it leaves out is lost, and waits in `undelivered`.
            copies: how often each event is among them.

        Returns:
            What `async with` enters. If the block fails, nothing is delivered.

        Raises:
            ValueError: on entering, when `copies` is less than 1.
            RuntimeError: on entering, while webhooks are held already.
        """
        return self._webhooks.holding(order, copies)

    # --- what is sold ---------------------------------------------------------------------------------

    def stock(self, prices: Iterable[str]) -> None:
        """Put on sale what a StripeBilling's `prices` name, at 20.00 USD a month.

        Args:
            prices: price ids, product ids (which get a default price), lookup keys; `"*"` is left out.
        """
        for key in prices:
            if key.startswith("prod_"):
                self.add_price(f"price_of_{key}", product=key)
            elif key.startswith("price_"):
                self.add_price(key)
            elif key != "*":
                self.add_price(f"price_for_{key}", lookup_key=key)

    def add_price(
        self,
        price: str,
        *,
        amount: int = 2000,
        currency: str = "usd",
        interval: str = "month",
        product: str | None = None,
        lookup_key: str | None = None,
    ) -> None:
        """Put a price on sale, or replace it.

        Args:
            price: its id.
            amount: in the currency's minor unit.
            currency: ISO 4217, lower case.
            interval: `day`, `week`, `month` or `year`; empty for a price paid once.
            product: its id; a product of the price's own if left out.
            lookup_key: another name for it.
        """
        self._state.create_price(
            price, product or f"prod_{price.removeprefix('price_')}", amount, currency, interval, lookup_key
        )

    def add_meter(self, event_name: str) -> str:
        """Set up a billing meter that adds up its events; returns its id."""
        return str(create_meter(self._state, event_name, event_name)["id"])

    def add_feature(self, lookup_key: str, *, product: str) -> str:
        """Let a product, made if need be, entitle those who buy it to a feature; returns the feature's id."""
        self._state.create_product(product, product)
        return create_feature(self._state, lookup_key, product)

    def metered(
        self, subject: str, meter: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> int:
        """Units that were reported of a subject to a meter, added up.

        Args:
            subject: whose.
            meter: the `event_name` of the meter.
            since: of use at this instant or later.
            until: of use before this instant.
        """
        owner = self.customer(subject)
        return 0 if owner is None else sum_of(self._state, owner, meter, since, until)

    # --- what customers do ----------------------------------------------------------------------------

    def customer(self, subject: str) -> str | None:
        """The id of the customer that a subject was last known as here, deleted or not."""
        return self._people.get(subject) or self._find(subject)

    async def subscribe(
        self,
        subject: str,
        price: str | None = None,
        *,
        status: str = "active",
        customer: str | None = None,
        trial_days: int = 0,
        quantity: int = 1,
        items: Sequence[tuple[str, int]] = (),
        metadata: Mapping[str, str] | None = None,
        email: str | None = None,
    ) -> str:
        """Let a subject subscribe, without a checkout.

        Args:
            subject: named in the customer's and the subscription's metadata, as skene's own checkouts do.
            price: what is bought; the only price there is, if left out.
            status: what the subscription starts as.
            customer: an existing customer; else the subject's own, created on first use.
            trial_days: start with a trial of this length.
            quantity: of the price.
            items: several prices with their quantities, in place of `price` and `quantity`.
            metadata: of the subscription, in place of the one that names the subject; `{}` for none.
            email: of a new customer.

        Returns:
            The subscription's id.

        Raises:
            LookupError: there is no such price.
        """
        owner = customer or self.customer(subject)
        if owner is None or self._state.tables["customer"][owner].get("deleted"):
            naming = {"skene_subject": subject} if metadata is None else metadata
            owner = self._state.create_customer(email=email, metadata=naming)["id"]
        self._people[subject] = owner
        bought: Sequence[tuple[str | None, int]] = items or [(price, quantity)]
        lines = [(self._known_price(key), count) for key, count in bought]
        made = self._state.subscribe(
            owner,
            lines,
            status=status,
            trial_days=trial_days,
            metadata={"skene_subject": subject} if metadata is None else metadata,
        )
        await self._flush()
        return str(made["id"])

    async def pay(self, session: str, email: str | None = None, *, settled: bool = True) -> str:
        """Complete a Checkout session, as its page does; returns where the browser goes next.

        Args:
            session: its id.
            email: what the person types in, if the session has no customer.
            settled: False pays in a way that takes the bank days; `settle` ends them.
        """
        done = self._state.complete(session, email, settled=settled)
        await self._flush()
        return str(done["success_url"]).replace("{CHECKOUT_SESSION_ID}", session)

    async def settle(self, session: str) -> None:
        """Let a payment come through that took the bank days."""
        self._state.settle_session(session)
        await self._flush()

    async def expire(self, session: str) -> None:
        """Let a Checkout session expire."""
        self._state.expire(session)
        await self._flush()

    # --- inside ---------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Deliver what has happened since the last time, in order."""
        emit_summaries(self._state)
        while self._state.unsent:
            await self._webhooks.offer(self._state.unsent.pop(0))

    def _find(self, subject: str) -> str | None:
        """The customer that metadata ties to a subject: a checkout puts it on the subscription alone."""
        for kind, field in (("customer", "id"), ("subscription", "customer")):
            for one in reversed(self._state.tables[kind].values()):
                if one.get("metadata", {}).get("skene_subject") == subject:
                    return str(one[field])
        return None

    def _known_price(self, price: str | None) -> str:
        prices = self._state.tables["price"]
        if price is None and len(prices) == 1:
            return next(iter(prices))
        found = [
            one["id"] for one in prices.values() if price in (one["id"], one["lookup_key"], one["product"])
        ]
        if price is None or not found:
            close = get_close_matches(price or "", prices, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise LookupError(f"there is no price {price!r}, only {', '.join(prices) or 'none'}{hint}")
        return str(found[0])
