"""What is asked and said about one subject, and about all of them together."""

from datetime import datetime

from skene.engine.decision import Decision
from skene.engine.program import counters_of, members_of
from skene.engine.standing import Standing
from skene.ports.accounts import Applied
from skene.ports.ledger import FunnelRow
from skene.runtime.aware import check_aware
from skene.runtime.gate import Ask, Gatekeeper, asks_of, stored
from skene.runtime.parts import Parts
from skene.runtime.webhooks import BillingSync

__all__ = ["PeopleVerbs"]


class PeopleVerbs:
    """`usage`, `set_plan`, `link`, `forget` and `funnel`."""

    _parts: Parts
    _gatekeeper: Gatekeeper
    _sync: BillingSync

    async def usage(
        self, subject: str, *, member: str | None = None, members: bool = False
    ) -> tuple[Decision, ...]:
        """How a subject stands with every step: plan, limit, used, when it resets. Read-only.

        A step that is grouped by route has one decision for each route that was used.

        Args:
            subject: who.
            member: of a team's, whose share of it to show, too.
            members: show the shares of all members who have used any.

        Raises:
            StorageUnavailable: the storage is away.
        """
        steps = self._parts.program.steps
        kept: tuple[str, ...] = ()
        if members or any(step.by_route for step in steps):
            kept = await self._parts.storage.meters(stored(subject))
            steps = tuple(counter for step in steps for counter in counters_of(step, kept))
        asks = [ask for step in steps for ask in asks_of(step, 1, member)]
        if members:
            asks += [Ask(one, 1) for step in steps for one in members_of(step, kept)]
        # Twice on one counter would be one question.
        asked = tuple({ask.step.meter: ask for ask in asks}.values()) if member and members else tuple(asks)
        return await self._gatekeeper.look(subject, asked) if asked else ()

    async def set_plan(
        self,
        subject: str,
        plan: str,
        *,
        until: datetime | None = None,
        paying: bool | None = None,
    ) -> Applied:
        """Put a subject on a plan by hand. Billing's next word about the subject's customer replaces it.

        Only that the customer has never subscribed does not end a plan that has an end and is not paid for.

        Args:
            subject: who.
            plan: one that billing or a limit table knows.
            until: when it ends; None: not by itself.
            paying: whether the subject pays for it: False for a trial, which is no conversion. Left out,
                every plan but the default one is paid for.

        Raises:
            ValueError: a plan that nobody knows, or an end without a time zone.
        """
        check_aware(until=until)
        default = self._parts.default_plan
        known = sorted(self._parts.plans)
        if plan not in known:
            raise ValueError(f"plan: got {plan!r}; there are: {', '.join(known)}")
        return await self._parts.storage.set_plan(
            stored(subject),
            Standing(plan, until, paying=plan != default if paying is None else paying),
            default_plan=default,
            attribution=self._parts.program.attribution,
            watchers=self._parts.watchers,
        )

    async def link(self, subject: str, customer: str) -> Applied | None:
        """Tie a subject to a customer of the billing service, and take over what that customer pays for.

        Raises:
            BillingUnavailable: tied, but the customer could not be fetched yet; a later webhook or refusal
                will.
            ValueError: no customer's id.
        """
        if not customer:
            raise ValueError(f"customer: got {customer!r}; give the billing service's id, such as cus_…")
        await self._parts.storage.link(stored(subject), customer, watchers=self._parts.watchers)
        return await self._sync.sync(customer)

    async def forget(self, subject: str) -> int:
        """Erase a person. Returns how many rows were erased or made anonymous."""
        return await self._parts.storage.forget(stored(subject))

    async def funnel(
        self, *, since: datetime | None = None, until: datetime | None = None, loop: str | None = None
    ) -> tuple[FunnelRow, ...]:
        """Walls, prompts, clicks, checkouts and conversions per loop; see `ports.ledger.FunnelRow`.

        Raises:
            ValueError: an instant without a time zone.
        """
        check_aware(since=since, until=until)
        return await self._parts.storage.funnel(since=since, until=until, loop=loop)
