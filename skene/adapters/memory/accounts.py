"""Plans in memory."""

from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from heapq import heappop, heappush

from skene.adapters.memory.spells import Terms, begin_spell, end_spell, refund
from skene.adapters.memory.state import Holder, Part, Payer
from skene.engine.standing import Standing
from skene.ports.accounts import Applied, Credit, Customer, Ticket, Update
from skene.ports.firings import NewFiring, Watcher
from skene.ports.happened import plan_changed

__all__ = ["MemoryAccounts", "digest"]


def digest(customer: str) -> bytes:
    """What is remembered of a forgotten customer."""
    return sha256(customer.encode("utf-8", "surrogatepass")).digest()


class MemoryAccounts(Part):
    """The port `Accounts`."""

    async def begin_sync(self, customer: str, event: str | None = None) -> Ticket | None:
        """Draw a ticket before fetching a customer's state."""
        state = self._state
        if event in state.events or digest(customer) in state.blocked:
            return None
        payer = state.payers.setdefault(customer, Payer())
        payer.drawn += 1
        return Ticket(customer, payer.drawn)

    async def apply_billing(self, update: Update) -> Applied:
        """Apply what a fetch said, unless a later one was applied before."""
        state, now = self._state, self._state.clock.now()
        if update.event is not None:
            state.events.setdefault(update.event, now)
        customer = update.ticket.customer
        if digest(customer) in state.blocked:
            return Applied(None, True, update.default_plan, update.default_plan)
        payer = state.payers.setdefault(customer, Payer())
        if update.ticket.number < payer.applied:
            self._note_refund(payer.subject, update, now)
            plan = self._plan(payer.subject, now) or update.default_plan
            return Applied(payer.subject, True, plan, plan)
        payer.applied, payer.update, payer.verified_at = update.ticket.number, update, now
        named = state.living(update.subject) if update.subject is not None else None
        if payer.subject is None and named is not None and self._free(named, now):
            self._tie(named, customer, now, _terms(update))
        state.post([replace(one, subject=one.subject or payer.subject or "") for one in update.drafts], now)
        if payer.subject is None:
            plan = update.standing.at(now, update.default_plan).plan
            return Applied(None, False, plan, plan)
        change = self._hold(payer.subject, update, now, _terms(update))
        self._note_refund(payer.subject, update, now)
        return change

    async def record_event(self, event: str, event_type: str) -> bool:
        """Remember a webhook that needs no fetch."""
        new = event not in self._state.events
        self._state.events.setdefault(event, self._state.clock.now())
        return new

    async def link(
        self,
        subject: str,
        customer: str,
        *,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        credit: Credit = "last",
    ) -> None:
        """Tie a subject to a customer."""
        now, subject = self._state.clock.now(), self._state.living(subject)
        terms = Terms(timedelta(0), credit, watchers, hooks)
        payer = self._tie(subject, customer, now, terms)
        if payer.update is not None:
            terms = replace(terms, attribution=payer.update.attribution)
            self._hold(subject, payer.update, now, terms)

    async def set_plan(
        self,
        subject: str,
        standing: Standing,
        *,
        default_plan: str,
        attribution: timedelta,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        credit: Credit = "last",
    ) -> Applied:
        """Set a plan by hand."""
        now, subject = self._state.clock.now(), self._state.living(subject)
        terms = Terms(attribution, credit, watchers, hooks)
        self._state.holders.setdefault(subject, Holder())
        return self._stand(subject, standing, default_plan, now, terms)

    async def note_lapses(
        self, watchers: tuple[Watcher, ...], limit: int, *, hooks: tuple[str, ...] = ()
    ) -> int:
        """Write down plans whose end has passed. In the port `Firings`; the plans are here."""
        state, noted = self._state, 0
        now = state.clock.now()
        while noted < limit and state.lapses and state.lapses[0][0] <= now:
            until, subject = heappop(state.lapses)
            holder = state.holders.get(subject)
            held = holder.standing if holder else None
            if holder is None or held is None or held.until != until:
                continue  # another plan was written down since
            holder.standing = Standing(holder.default)
            if held.paying:
                end_spell(state, subject, until, hooks, now)
            terms = Terms(timedelta(0), "last", watchers, hooks)
            self._tell(subject, held.plan, holder.default, now, terms)
            noted += 1
        return noted

    async def get_customer(self, subject: str) -> Customer | None:
        """The subject's record."""
        subject = self._state.living(subject)
        holder = self._state.holders.get(subject)
        if holder is None:
            return None
        held = holder.standing
        return Customer(
            subject,
            holder.customer,
            held.plan if held else None,
            held.until if held else None,
            held is not None and held.paying,
            holder.email,
            holder.features,
        )

    async def claim_lookup(self, subject: str, every: timedelta) -> str | None:
        """Claim the right to ask the billing service about a subject."""
        holder, now = self._state.holders.get(self._state.living(subject)), self._state.clock.now()
        if holder is None or holder.customer is None:
            return None
        if holder.checked_at is not None and now - holder.checked_at < every:
            return None
        holder.checked_at = now
        return holder.customer

    def plan_of(self, subject: str) -> str | None:
        """For tests: the plan a subject holds now; None if billing never heard of them."""
        return self._plan(self._state.living(subject), self._state.clock.now())

    def _plan(self, subject: str | None, now: datetime) -> str | None:
        holder = self._state.holders.get(subject) if subject is not None else None
        standing = holder.standing_at(now) if holder else None
        return standing.plan if standing else None

    def _free(self, subject: str, now: datetime) -> bool:
        """Whether no other customer gives the subject a plan."""
        holder = self._state.holders.get(subject)
        return holder is None or holder.customer is None or self._plan(subject, now) in (None, holder.default)

    def _tie(self, subject: str, customer: str, now: datetime, terms: Terms) -> Payer:
        """Tie the two and cut earlier ties of either; who loses a customer loses what it gave."""
        state = self._state
        payer = state.payers.setdefault(customer, Payer())
        if payer.subject is not None and payer.subject != subject:
            loser = state.holders.pop(payer.subject)
            if loser.own_limits is not None:
                state.holders[payer.subject] = Holder(
                    own_limits=loser.own_limits
                )  # no customer gave it those
            if loser.standing is not None:
                self._lose(payer.subject, loser.standing, Standing(loser.default), now, terms)
        holder = state.holders.setdefault(subject, Holder())
        if holder.customer is not None and holder.customer != customer:
            state.payers[holder.customer].subject = None
        holder.customer, payer.subject = customer, subject
        return payer

    def _hold(self, subject: str, update: Update, now: datetime, terms: Terms) -> Applied:
        holder = self._state.holders[subject]
        holder.cycle, holder.email, holder.features = update.cycle, update.email, update.features
        return self._stand(subject, update.standing, update.default_plan, now, terms)

    def _stand(self, subject: str, standing: Standing, default: str, now: datetime, terms: Terms) -> Applied:
        state, holder = self._state, self._state.holders[subject]
        written = holder.standing or Standing(default)
        before, after = holder.standing_at(now) or written, standing.at(now, default)
        holder.standing, holder.default = after, default
        if after.until is not None:
            heappush(state.lapses, (after.until, subject))
        self._lose(subject, written, after, now, terms)
        if before.paying or not after.paying:
            return Applied(subject, False, before.plan, after.plan)
        wall = begin_spell(state, subject, after, terms, now)
        return Applied(subject, False, before.plan, after.plan, True, wall)

    def _lose(self, subject: str, written: Standing, after: Standing, now: datetime, terms: Terms) -> None:
        """Say that a subject holds another plan than was written down, and no longer pays for that one."""
        # What was written down is what watchers heard last, even if its end has passed unnoticed since.
        self._tell(subject, written.plan, after.plan, now, terms)
        until = written.until
        lapsed = until is not None and until <= now
        if written.paying and (lapsed or not after.paying):
            end_spell(self._state, subject, until if until and lapsed else now, terms.hooks, now)

    def _note_refund(self, subject: str | None, update: Update, now: datetime) -> None:
        if subject is not None and update.refund is not None:
            refund(self._state, subject, update.refund, update.hooks, now)

    def _tell(self, subject: str, before: str, after: str, now: datetime, terms: Terms) -> None:
        """Record a firing of each watcher, and an event for each hook, if the plan is another one."""
        if before == after:
            return
        self._state.changes += 1
        changes = self._state.changes
        for loop, step in dict.fromkeys((watcher.loop, watcher.step) for watcher in terms.watchers):
            key = f"plan.changed:{step}:{changes}"
            self._state.fire(NewFiring(key, loop, step, subject, {"from": before, "to": after}), now)
        self._state.post(plan_changed(terms.hooks, subject, before, after, now, str(changes)), now)


def _terms(update: Update) -> Terms:
    return Terms(update.attribution, update.credit, update.watchers, update.hooks)
