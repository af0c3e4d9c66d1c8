"""What is asked and said about one subject, and about all of them together."""

from datetime import datetime
from typing import get_args

from skene.engine.decision import Decision
from skene.engine.program import counters_of, members_of
from skene.engine.standing import Standing
from skene.ports.accounts import Applied
from skene.ports.ledger import Conversion, FunnelRow, Span
from skene.ports.merging import Merged
from skene.runtime import telling
from skene.runtime.asks import Ask, asks_of, stored
from skene.runtime.aware import check_aware
from skene.runtime.gate import Gatekeeper
from skene.runtime.parts import Parts
from skene.runtime.webhooks import BillingSync

__all__ = ["PeopleVerbs"]


class PeopleVerbs:
    """`usage`, `upgrade_link`, `set_plan`, `link`, `merge`, `forget`, `funnel` and `conversions`."""

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
            shown = {ask.step.meter for ask in asks}
            others = [one for step in steps for one in members_of(step, kept) if one.meter not in shown]
            asks += [Ask(one, 1) for one in others]
        return await self._gatekeeper.look(subject, asks) if asks else ()

    def upgrade_link(self, subject: str, plan: str | None = None) -> str:
        """A signed link that leads a subject to payment, e.g. for the buttons of your own pricing page.

        It works for `link_lifetime`, and nobody can turn it into one for another subject or plan. Somebody
        who has a subscription already is led to where they change it.

        Args:
            subject: who is to buy; the person who is signed in.
            plan: what; None: what fits when the link is followed, as with the links in messages.

        Raises:
            SubjectInvalid: the id is empty or not a string.
            ValueError: a plan that billing does not sell.
        """
        offers = self._parts.billing.offers
        if plan is not None and offers and plan not in offers:
            raise ValueError(f"plan: got {plan!r}; sold are: {', '.join(offers)}")
        return self._parts.links.upgrade(subject=stored(subject), plan=plan)

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
        who = stored(subject)
        async with self._parts.unleased(who):
            return await self._parts.storage.set_plan(
                who,
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

    async def merge(self, source: str, target: str) -> Merged:
        """Make an anonymous subject a known one: usage, grants, walls and plan become the target's.

        Calls by `source` count for `target` from now on. Doing it again, as at every sign-in, is free.

        Args:
            source: who was counted so far, such as a visitor's cookie id.
            target: who it turned out to be.

        Returns:
            Whom the source counts as, and what has moved. Where both were customers of the billing service,
            `untied` is the one that nobody is tied to any more: it may still pay, and a warning says so.

        Raises:
            SubjectInvalid: an id is empty or not a string.
            ValueError: the two are one already: the same id, or the target was merged into the source.
        """
        parts, old, new = self._parts, stored(source), stored(target)
        if old == new:
            raise ValueError(f"source and target: got {source!r} twice; give two subjects")
        told = telling.merged(parts, old, new)
        async with parts.unleased(old, new):
            merged = await parts.storage.merge(
                old, new, watchers=parts.watchers, hooks=parts.hook_names, drafts=told
            )
        if merged.untied is not None:
            parts.log.warning(
                "two customers became one subject: %s stays, and %s, which may still pay, is tied to nobody;"
                " end its subscription, or link it",
                merged.customer,
                merged.untied,
            )
        parts.wake()
        return merged

    async def forget(self, subject: str) -> int:
        """Erase a person, and whoever was merged into the person.

        Returns:
            How many rows were erased or made anonymous.
        """
        who = stored(subject)
        async with self._parts.unleased(who):
            return await self._parts.storage.forget(who)

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
        subject: str | None = None,
        after: int | None = None,
        limit: int = 1000,
    ) -> tuple[Conversion, ...]:
        """Who began to pay, in the order it was recorded; see `ports.ledger.Conversion`.

        Args:
            since, until: dated in `[since, until)`.
            subject: only this one's.
            after: begin after the one with this number: for the next page, the last one's of this page.
            limit: how many at most, 1 or more.

        Raises:
            ValueError: an instant without a time zone, or a limit below 1.
        """
        check_aware(since=since, until=until)
        if limit < 1:
            raise ValueError(f"limit: got {limit!r}; give a whole number of 1 or more")
        return await self._parts.storage.conversion_rows(
            since=since,
            until=until,
            subject=None if subject is None else stored(subject),
            after=after,
            limit=limit,
        )
