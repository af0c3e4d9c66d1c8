"""`World`: what a test does to an app and asks about it."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from skene.adapters.memory import MemoryStorage
from skene.engine.limits import applied_plan
from skene.engine.program import CompiledStep
from skene.engine.subject import storable_id
from skene.errors import DeliveryError
from skene.ports.hooks import Event
from skene.ports.ledger import Wall
from skene.ports.notifier import Body
from skene.ports.outbox import MessageState
from skene.testing.clock import ManualClock
from skene.testing.expecting import LEGEND, differences, happened
from skene.testing.happenings import Happenings
from skene.testing.mails import Mail, Postbox, read
from skene.testing.paying import Checkout, Conversion
from skene.wiring import Skene

if TYPE_CHECKING:
    from skene.testing.lifecycles import Lifecycle
    from skene.testing.stripe_server import FakeStripe
    from skene.testing.stripe_server.objects import Obj
    from skene.testing.stripe_server.webhooks import Order

__all__ = ["World"]

_WAITING = "nothing is delivered until world.drain()"


class World(Happenings):
    """An app's loops on back-ends in memory. `skene.testing.world` makes it.

    Attributes:
        skene: the app's own, for everything that is asked there: `await world.skene.usage("ada")`.
        clock: the present; `world.clock.advance("30d")`.
        storage: what is kept.
    """

    def __init__(
        self,
        skene: Skene,
        storage: MemoryStorage,
        clock: ManualClock,
        box: Postbox,
        stripe: "FakeStripe | None",
        events: list[Event],
    ) -> None:
        self.clock = clock
        self.storage = storage
        self._skene = skene
        self._box = box
        self._stripe = stripe
        self._events = events
        self._ended = False

    def __repr__(self) -> str:
        return f"<World at {self.clock.now():%Y-%m-%d %H:%M:%S}: {len(self._box.kept)} mails sent>"

    @property
    def skene(self) -> Skene:
        """The app's own.

        Raises:
            RuntimeError: the world has ended, and the app has its own back-ends again.
        """
        if self._ended:
            raise RuntimeError("this world has ended; what it would do now would reach the real back-ends")
        return self._skene

    @property
    def stripe(self) -> "FakeStripe":
        """Stripe's stand-in: `await world.stripe.subscribe("ada", "price_123")`.

        Raises:
            AssertionError: the app does not sell through Stripe.
        """
        if self._stripe is None:
            raise AssertionError(
                f"this app's plans come from {type(self._skene.billing).__name__}, not from Stripe; "
                'put a subject on a plan with: await world.set_plan("ada", "paid")'
            )
        return self._stripe

    # -- what a test arranges -----------------------------------------------------------------------------

    def used(self, subject: str, units: int, meter: str | None = None) -> None:
        """Set what a subject has used: in the running window of the plan held now, or in one that opens now.

        Args:
            subject: as the app names it.
            units: 0 or more.
            meter: of several, the one that is meant; where routes are counted apart, `meter:/path/of/route`.

        Raises:
            LookupError: there is no such meter, or several to choose from.
            ValueError: units that cannot be used.
        """
        if not _is_count(units):
            raise ValueError(
                f"world.used({subject!r}, …): got {units!r} units; give a whole number of 0 or more"
            )
        step, name = self._meter(meter)
        plan = self.plan(subject)
        counted = plan if plan in step.limits else self.skene.billing.default
        self.storage.set_used(
            storable_id(subject), name, step.counted_as(counted), step.rule(self.clock.now()), units
        )

    async def set_plan(self, subject: str, plan: str) -> None:
        """Put a subject on a plan by hand, without Stripe.

        Raises:
            ValueError: a plan that no limit table knows.
        """
        await self.skene.set_plan(subject, plan)

    def fail_mails(self, error: DeliveryError, times: int = 1, *, accepted: bool = False) -> None:
        """Let the next attempts to send a mail fail.

        Args:
            error: what they raise, e.g. `DeliveryFailed("busy")`.
            times: how many of them.
            accepted: the mail arrives all the same, as with a provider whose answer is lost.
        """
        self._box.fail(error, times, accepted)

    # -- what happens -------------------------------------------------------------------------------------

    async def drain(self) -> int:
        """Do what is due: evaluate firings, deliver messages, tell hooks of events.

        Returns:
            How many firings and messages were dealt with, whatever became of them.
        """
        told = len(self._events)
        return await self.skene.worker.drain() - (len(self._events) - told)

    async def lifecycle(
        self,
        subject: str,
        name: "Lifecycle",
        price: str | None = None,
        *,
        to: str | None = None,
        order: "Order | None" = None,
        copies: int = 1,
        delay: timedelta | str | None = None,
    ) -> "list[Obj]":
        """Let a subject live a whole life as Stripe's customer, with the time that passes in it.

        Args:
            subject: as the app names it.
            name: which life, e.g. `trial_converts`, `pays_late`, `never_pays`, `cancels_at_period_end`.
            price: what is bought; the only price there is, if left out.
            to: the price that `switches_price` ends with.
            order: in which order the webhooks come, e.g. `reversed`; see `FakeStripe.held`.
            copies: how often each of them comes.
            delay: how long after the end of it all they come. Without any of these three, each webhook comes
                when it happens.

        Returns:
            The events, oldest first, as Stripe sends them.

        Raises:
            AssertionError: the app does not sell through Stripe.
            LookupError: no life is called so, or there is no such price.
            ValueError: `switches_price` without a price to switch to; fewer than one copy.
        """
        from skene.testing.lifecycles import Buyer, live  # loads Stripe's SDK

        stripe, buyer = self.stripe, Buyer(subject, price, to)
        before = len(stripe.events)
        mixed = (order, copies, delay) != (None, 1, None)
        async with stripe.held(order or list, copies=copies) if mixed else nullcontext():
            await live(stripe, self.clock, name, buyer)
            if delay is not None:
                self.clock.advance(delay)
        return stripe.events[before:]

    async def follow(self, subject: str) -> Checkout:
        """Follow the upgrade link in a subject's last mail that has one, as the person would.

        Raises:
            AssertionError: no such mail was sent.
            CheckoutUnavailable, LinkInvalid: the link leads nowhere, or has expired.
        """
        mails = self.mails(subject)
        link = next((link for mail in reversed(mails) if (link := mail.upgrade_link)), None)
        if link is None:
            sent = (
                f"no mail to {subject!r} has an upgrade link" if mails else f"no mail was sent to {subject!r}"
            )
            raise AssertionError(f"{sent}\n{self.describe(subject)}")
        url = await self.skene.upgrade.follow(parse_qs(urlsplit(link).query)["token"][0])
        return Checkout.at(url, self)

    # -- what came of it ----------------------------------------------------------------------------------

    def plan(self, subject: str) -> str:
        """The plan a subject holds now."""
        return self.storage.plan_of(storable_id(subject)) or self.skene.billing.default

    def mails(self, subject: str) -> list[Mail]:
        """The mails that were sent to a subject, oldest first."""
        posted = self.storage.posted(storable_id(subject))
        templates = {f"skene-{draft.key}": draft.template for draft, _, _ in posted if draft.is_mail}
        return [read(templates[key], body) for key, body in self._box.kept.items() if key in templates]

    def sent(self, subject: str) -> list[str]:
        """The templates of the mails that were sent to a subject, oldest first."""
        return [mail.template for mail in self.mails(subject)]

    def webhooks(self, subject: str) -> list[Body]:
        """The bodies of the webhooks that were sent because of a subject, oldest first."""
        posted = self.storage.posted(storable_id(subject))
        keys = {f"skene-{draft.key}" for draft, _, _ in posted if draft.kind == "webhook"}
        return [body for key, body in self._box.kept.items() if key in keys]

    def events(self, subject: str | None = None) -> list[Event]:
        """What hooks were told, oldest first; of everybody, or one subject. `world.drain()` tells them."""
        return [event for event in self._events if subject is None or event.subject == storable_id(subject)]

    def walls(self, subject: str | None = None) -> list[Wall]:
        """First refusals, oldest first; of everybody, or of one subject."""
        return [
            wall for wall in self.storage.walls if subject is None or wall.subject == storable_id(subject)
        ]

    def conversions(self, subject: str | None = None) -> list[Conversion]:
        """Who began to pay, in that order; everybody, or one subject."""
        loops = {wall.id: wall.loop for wall in self.storage.walls}
        return [
            Conversion(one.subject, loops.get(one.wall or ""), one.wall, one.at, one.amount, one.currency)
            for one in self.storage.conversions
            if subject is None or one.subject == storable_id(subject)
        ]

    def expect(
        self,
        subject: str,
        *,
        plan: str | None = None,
        mails: Sequence[str] | None = None,
        webhooks: Sequence[str] | None = None,
        pending: Sequence[str] | None = None,
        walls: Sequence[str] | None = None,
        conversions: Sequence[str | None] | None = None,
        events: Sequence[str] | None = None,
    ) -> None:
        """Check at once what has become of a subject; what is not named may be anything. Lists: oldest first.

        Args:
            subject: as the app names it.
            plan: the one that is held now.
            mails, webhooks: what was sent, by template and by type.
            pending: what waits in the outbox, by template or type.
            walls: the steps that refused first.
            conversions: the loops credited with a beginning to pay; None where no wall explains it.
            events: what hooks were told, by kind.

        Raises:
            AssertionError: something differs; shows what, and all that has happened to the subject.
        """
        __tracebackhide__ = True
        wanted: dict[str, object] = {"plan": plan, "mails": mails, "webhooks": webhooks, "pending": pending}
        wanted |= {"walls": walls, "conversions": conversions, "events": events}
        asked = {name: value for name, value in wanted.items() if value is not None}
        if lines := differences(asked, happened(self, subject)):
            told = [f"{subject!r} is not as expected {LEGEND}:", *lines, self.describe(subject)]
            raise AssertionError("\n".join(told))

    def describe(self, subject: str | None = None) -> str:
        """What has happened, for people: shown when a test that uses the `world` fixture fails."""
        only = None if subject is None else storable_id(subject)
        lines = [f"the world at {self.clock.now():%Y-%m-%d %H:%M:%S} UTC:"]
        for who, meter, plan, units in self.storage.counts():
            if only in (None, who):
                lines.append(f"  {who}: {self._count(who, meter, plan, units)}")
        lines += [
            f"  {one.subject}: {one.spent} spent of {one.units} granted ({one.meter})"
            for one in self.storage.granted()
            if only in (None, one.subject)
        ]
        lines += [f"  {w.subject}: stopped by {w.step} at {w.used}" for w in self.walls(subject)]
        for draft, state, reason in self.storage.posted(only):
            why = reason or (_WAITING if state is MessageState.PENDING else "")
            if draft.kind == "event":
                continue  # what they tell of is told here by itself
            what = "mail" if draft.is_mail else draft.kind
            lines.append(f"  {draft.subject}: {what} {draft.template!r} is {state}{why and f' ({why})'}")
        lines += [
            f"  {c.subject}: began to pay (loop {c.loop or 'unknown'})" for c in self.conversions(subject)
        ]
        lines += self._told(only)
        if self._stripe is not None and (lost := self._stripe.undelivered):
            lines.append(f"  webhooks not delivered: {', '.join(str(event['type']) for event in lost)}")
        return "\n".join(lines if len(lines) > 1 else [*lines, "  nothing has happened"])

    def end(self) -> None:
        """Refuse to do anything more; called when the block is left."""
        self._ended = True

    # -- inside -------------------------------------------------------------------------------------------

    def _meter(self, meter: str | None) -> tuple[CompiledStep, str]:
        """The step that counts on a meter, and the counter's own name."""
        steps = self.skene.program.steps
        if meter is None:
            names = list(dict.fromkeys(_shown(step) for step in steps))
            if len(names) != 1 or steps[0].by_route:
                raise LookupError(f"world.used(…): say which meter: {', '.join(names) or 'there is none'}")
            return steps[0], steps[0].meter
        for step in steps:
            if meter.startswith(f"{step.meter}:/") if step.by_route else meter == step.meter:
                return step, meter
        names = list(dict.fromkeys(_shown(step) for step in steps))
        raise LookupError(f"world.used(…): no meter is called {meter!r}; there are: {', '.join(names)}")

    def _count(self, who: str, meter: str, plan: str, units: int) -> str:
        """What a counter says."""
        try:
            step = self._meter(meter)[0]
        except LookupError:
            return f"{units} used of ? ({meter}, plan {plan})"
        if step.held:  # one counter for all plans
            plan = applied_plan(step.limits, self.plan(who), self.skene.billing.default)
        limit = step.limits.get(plan)
        done = "held" if step.held else "used"
        return f"{units} {done} of {'unlimited' if limit is None else limit} ({meter}, plan {plan})"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _shown(step: CompiledStep) -> str:
    return f"{step.meter}:/path/of/route" if step.by_route else step.meter
