"""From a link in a mail, or in a refusal, to the page where one pays."""

from dataclasses import dataclass

import anyio

from skene.engine.standing import LIVING_STATUSES
from skene.engine.subject import storable_id
from skene.errors import CheckoutUnavailable
from skene.ports.accounts import Customer
from skene.ports.billing import CheckoutOrder
from skene.ports.ledger import Wall
from skene.ports.notifier import Profile, ProfileResolver
from skene.runtime.offering import Offer, address, better_plan, choose
from skene.runtime.parts import Parts
from skene.runtime.telling import checkout_opened, link_clicked

__all__ = ["Upgrade"]

PROFILE_TIMEOUT = 2.0
OFFER_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class _Buyer:
    """Who is to buy what.

    Attributes:
        subject: who.
        wall: what led here, if a wall did.
        plan: what the link itself sells; None: what fits.
    """

    subject: str
    wall: Wall | None
    plan: str | None


class Upgrade:
    """Opens checkouts and portals."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def follow(self, token: str) -> str:
        """Follow a signed link: record the click, open a fresh checkout, and say where the browser goes.

        Raises:
            LinkInvalid: forged, malformed or expired.
            CheckoutUnavailable: nothing can be sold, or the subject is gone.
            BillingUnavailable, StorageUnavailable: try again.
        """
        parts = self._parts
        target = parts.links.read(token)
        if target.wall is None:
            return await self._checkout(_Buyer(target.subject or "", None, target.plan))
        wall = await parts.storage.get_wall(target.wall)
        if wall is None or not wall.subject:  # the walls of somebody who was forgotten stay, nameless
            raise CheckoutUnavailable("this link belongs to nobody any more")
        await parts.storage.mark_clicked(wall.id, link_clicked(parts, wall))
        return await self._checkout(_Buyer(wall.subject, wall, target.plan))

    async def portal(self, subject: str) -> str:
        """Address of the page where a subject manages what they pay for.

        Raises:
            CheckoutUnavailable: the subject is no customer, or there is no such page.
        """
        known = await self._parts.storage.get_customer(storable_id(subject))
        if known is None or known.customer is None:
            raise CheckoutUnavailable("there is no subscription to manage")
        return address(await self._parts.billing.portal(known.customer, return_url=self._parts.links.origin))

    async def _checkout(self, buyer: _Buyer) -> str:
        parts = self._parts
        known = await parts.storage.get_customer(buyer.subject)
        if known is not None and await self._has_subscription(known):
            # Somebody who has a subscription, paid or on trial, changes it and does not need a second one.
            # Only after signing in: a link in a mail is passed on, and what is paid is nobody else's affair.
            return f"{parts.links.base_url}/portal"
        plan = await self._plan(buyer, parts.plan_of(known, parts.clock.now()))
        email = known.email if known else None
        if email is None and parts.profile is not None:
            email = await self._address(parts.profile, buyer.subject)
        order = CheckoutOrder(
            subject=buyer.subject,
            wall=buyer.wall.id if buyer.wall else None,
            customer=known.customer if known else None,
            email=email,
            return_url=f"{parts.links.base_url}/checkout/return?session_id={{CHECKOUT_SESSION_ID}}",
            cancel_url=parts.links.origin,
            plan=plan,
        )
        session = await parts.billing.checkout(order, idempotency_key=parts.clock.new_id())
        if session.customer is not None and session.customer != order.customer:
            # New, or in place of one that was deleted there. Tied before anything is paid: the payer can be
            # looked up even if every webhook is lost.
            await parts.storage.link(
                buyer.subject,
                session.customer,
                watchers=parts.watchers,
                hooks=parts.hook_names,
                credit=parts.credit,
            )
        wall = buyer.wall
        if wall is not None:
            told = checkout_opened(parts, wall, session.id)
            await parts.storage.mark_checkout(wall.id, session.id, told)
        return address(session.url)

    async def _plan(self, buyer: _Buyer, held: str) -> str | None:
        """The plan to sell; None: whatever the back-end sells by itself.

        Raises:
            CheckoutUnavailable: a plan was asked for that is not sold.
        """
        parts, plan = self._parts, buyer.plan
        offers = parts.billing.offers
        if plan is None and parts.offer is not None:
            plan = await self._choice(parts.offer, buyer, held)
        if plan is not None:
            if offers and plan not in offers:
                raise CheckoutUnavailable(f"the plan {plan!r} is not sold; these are: {', '.join(offers)}")
            return plan
        step = buyer.wall.step if buyer.wall else None
        return better_plan(parts.program, parts.billing.plans, offers, held, step)

    async def _choice(self, offer: Offer, buyer: _Buyer, held: str) -> str | None:
        """What the app itself wants to sell. Whatever goes wrong with that keeps nobody from paying."""
        step = buyer.wall.step if buyer.wall else None
        try:
            with anyio.move_on_after(OFFER_TIMEOUT):
                return await choose(offer, buyer.subject, held, step)
            self._parts.log.warning("offer= took too long: the next better plan is sold instead")
        except Exception as error:  # noqa: BLE001 - the app's own code; skene chooses instead
            kind = type(error).__name__
            self._parts.log.warning("offer= failed (%s): the next better plan is sold instead", kind)
        return None

    async def _address(self, profile: ProfileResolver, subject: str) -> str | None:
        """The address to fill in beforehand. Whatever goes wrong with it keeps nobody from paying."""
        found: Profile | None = None
        try:
            with anyio.move_on_after(PROFILE_TIMEOUT):
                found = await profile(subject)
        except Exception as error:  # noqa: BLE001 - the app's own code; the person types the address instead
            self._parts.log.warning("a profile could not be loaded for a checkout: %s", type(error).__name__)
        return found.email if found else None

    async def _has_subscription(self, known: Customer) -> bool:
        """Whether there is a subscription to change: one that gives a plan, or would if it were paid."""
        parts = self._parts
        if known.customer is None:
            return False
        now = parts.clock.now()
        held = parts.plan_of(known, now) != parts.default_plan
        if held and (known.paying or known.until is None):
            return True
        # A trial may be a subscription's, or given by hand to somebody who has none yet; and one that is
        # unpaid or paused is to be paid, not bought a second time.
        try:
            account = await parts.billing.fetch(known.customer)
        except LookupError:
            return False
        return any(
            one.status in LIVING_STATUSES and (one.ends_at is None or one.ends_at > now)
            for one in account.subscriptions
        )
