"""What is asked and said about one subject, and about all of them together."""

from datetime import datetime
from typing import get_args

from skene.engine.decision import Decision
from skene.engine.program import counters_of
from skene.engine.standing import Standing
from skene.ports.accounts import Applied
from skene.ports.ledger import Conversion, FunnelRow, Span
from skene.runtime.aware import check_aware
from skene.runtime.gate import Ask, Gatekeeper, stored
from skene.runtime.parts import Parts
from skene.runtime.webhooks import BillingSync

__all__ = ["PeopleVerbs"]


class PeopleVerbs:
    """`usage`, `set_plan`, `link`, `forget`, `funnel` and `conversions`."""

    _parts: Parts
    _gatekeeper: Gatekeeper
    _sync: BillingSync

    async def usage(self, subject: str) -> tuple[Decision, ...]:
        """How a subject stands with every step: plan, limit, used, when it resets. Read-only.

        A step that is grouped by route has one decision for each route that was used.
        """
        steps = self._parts.program.steps
        if any(step.by_route for step in steps):
            kept = await self._parts.storage.meters(stored(subject))
            steps = tuple(counter for step in steps for counter in counters_of(step, kept))
        if not steps:
            return ()
        return await self._gatekeeper.look(subject, tuple(Ask(step, 1) for step in steps))

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
        limited = {plan for step in self._parts.program.steps for plan in step.limits}
        known = sorted({*limited, *self._parts.billing.plans, default})
        if plan not in known:
            raise ValueError(f"plan: got {plan!r}; there are: {', '.join(known)}")
        return await self._parts.storage.set_plan(
            stored(subject),
            Standing(plan, until, paying=plan != default if paying is None else paying),
            default_plan=default,
            attribution=self._parts.program.attribution,
            watchers=self._parts.watchers,
            hooks=self._parts.hook_names,
            credit=self._parts.credit,
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
        parts = self._parts
        await parts.storage.link(
            stored(subject),
            customer,
            watchers=parts.watchers,
            hooks=parts.hook_names,
            credit=parts.credit,
        )
        return await self._sync.sync(customer)

    async def forget(self, subject: str) -> int:
        """Erase a person. Returns how many rows were erased or made anonymous."""
        return await self._parts.storage.forget(stored(subject))

    async def funnel(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        loop: str | None = None,
        by: Span | None = None,
    ) -> tuple[FunnelRow, ...]:
        """Walls, prompts, clicks, checkouts and conversions per loop; see `ports.ledger.FunnelRow`.

        Args:
            since, until: of walls that opened and journeys that began in `[since, until)`.
            loop: of this one alone.
            by: a row for each `day`, `week` (from Monday on) or `month` of UTC that has anything in it.

        Raises:
            ValueError: an instant without a time zone, or something else to divide by.
        """
        check_aware(since=since, until=until)
        if by not in (None, *get_args(Span)):
            raise ValueError(f"by: got {by!r}; give one of {', '.join(get_args(Span))}")
        return await self._parts.storage.funnel(since=since, until=until, loop=loop, by=by)

    async def conversions(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int | None = None,
        limit: int = 1000,
    ) -> tuple[Conversion, ...]:
        """Who began to pay, in the order it was recorded; see `ports.ledger.Conversion`.

        Args:
            since, until: dated in `[since, until)`.
            after: begin after the one with this number: for the next page, the last one's of this page.
            limit: how many at most, 1 or more.

        Raises:
            ValueError: an instant without a time zone, or a limit below 1.
        """
        check_aware(since=since, until=until)
        if limit < 1:
            raise ValueError(f"limit: got {limit!r}; give a whole number of 1 or more")
        return await self._parts.storage.conversion_rows(since=since, until=until, after=after, limit=limit)
