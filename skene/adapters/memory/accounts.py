"""Plans in memory."""

from datetime import datetime, timedelta
from hashlib import sha256
from heapq import heappop, heappush

from skene.adapters.memory.state import Conversion, Holder, Part, Payer
from skene.engine.standing import Standing
from skene.ports.accounts import Applied, Customer, Ticket, Update
from skene.ports.firings import NewFiring, Watcher

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
            state.events.setdefault(update.event, update.event_type)
        customer = update.ticket.customer
        if digest(customer) in state.blocked:
            return Applied(None, True, update.default_plan, update.default_plan)
        payer = state.payers.setdefault(customer, Payer())
        if update.ticket.number < payer.applied:
            plan = self._plan(payer.subject, now) or update.default_plan
            return Applied(payer.subject, True, plan, plan)
        payer.applied, payer.update = update.ticket.number, update
        if payer.subject is None and update.subject is not None and self._free(update.subject, now):
            self._tie(update.subject, customer, now, update.watchers)
        if payer.subject is None:
            plan = update.standing.at(now, update.default_plan).plan
            return Applied(None, False, plan, plan)
        return self._hold(payer.subject, update, now, update.watchers)

    async def record_event(self, event: str, event_type: str) -> bool:
        """Remember a webhook that needs no fetch."""
        new = event not in self._state.events
        self._state.events.setdefault(event, event_type)
        return new

    async def link(self, subject: str, customer: str, *, watchers: tuple[Watcher, ...] = ()) -> None:
        """Tie a subject to a customer."""
        now = self._state.clock.now()
        payer = self._tie(subject, customer, now, watchers)
        if payer.update is not None:
            self._hold(subject, payer.update, now, watchers)

    async def set_plan(
        self,
        subject: str,
        standing: Standing,
        *,
        default_plan: str,
        attribution: timedelta,
        watchers: tuple[Watcher, ...] = (),
    ) -> Applied:
        """Set a plan by hand."""
        now = self._state.clock.now()
        self._state.holders.setdefault(subject, Holder())
        return self._stand(subject, standing, default_plan, attribution, now, watchers)

    async def note_lapses(self, watchers: tuple[Watcher, ...], limit: int) -> int:
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
            self._tell(subject, held.plan, holder.default, now, watchers)
            noted += 1
        return noted

    async def get_customer(self, subject: str) -> Customer | None:
        """The subject's record."""
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
        holder, now = self._state.holders.get(subject), self._state.clock.now()
        if holder is None or holder.customer is None:
            return None
        if holder.checked_at is not None and now - holder.checked_at < every:
            return None
        holder.checked_at = now
        return holder.customer

    def plan_of(self, subject: str) -> str | None:
        """For tests: the plan a subject holds now; None if billing never heard of them."""
        return self._plan(subject, self._state.clock.now())

    def _plan(self, subject: str | None, now: datetime) -> str | None:
        holder = self._state.holders.get(subject) if subject is not None else None
        standing = holder.standing_at(now) if holder else None
        return standing.plan if standing else None

    def _free(self, subject: str, now: datetime) -> bool:
        """Whether no other customer gives the subject a plan."""
        holder = self._state.holders.get(subject)
        return holder is None or holder.customer is None or self._plan(subject, now) in (None, holder.default)

    def _tie(self, subject: str, customer: str, now: datetime, watchers: tuple[Watcher, ...]) -> Payer:
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
                self._tell(payer.subject, loser.standing.plan, loser.default, now, watchers)
        holder = state.holders.setdefault(subject, Holder())
        if holder.customer is not None and holder.customer != customer:
            state.payers[holder.customer].subject = None
        holder.customer, payer.subject = customer, subject
        return payer

    def _hold(self, subject: str, update: Update, now: datetime, watchers: tuple[Watcher, ...]) -> Applied:
        holder = self._state.holders[subject]
        holder.cycle, holder.email, holder.features = update.cycle, update.email, update.features
        return self._stand(subject, update.standing, update.default_plan, update.attribution, now, watchers)

    def _stand(
        self,
        subject: str,
        standing: Standing,
        default: str,
        attribution: timedelta,
        now: datetime,
        watchers: tuple[Watcher, ...],
    ) -> Applied:
        state, holder = self._state, self._state.holders[subject]
        written = holder.standing or Standing(default)
        before, after = holder.standing_at(now) or written, standing.at(now, default)
        holder.standing, holder.default = after, default
        if after.until is not None:
            heappush(state.lapses, (after.until, subject))
        # What was written down is what watchers heard last, even if its end has passed unnoticed since.
        self._tell(subject, written.plan, after.plan, now, watchers)
        if before.paying or not after.paying:
            return Applied(subject, False, before.plan, after.plan)
        rows = state.standing.get(subject, {}).values()
        last = max(rows, key=lambda row: row.opened_at, default=None)
        wall = last.wall.id if last and last.opened_at >= now - attribution else None
        paid = after.subscription
        amount, currency = (paid.amount, paid.currency) if paid else (None, None)
        state.conversions.append(Conversion(subject, now, wall, amount, currency))
        state.converted[subject] = len(state.conversions)
        return Applied(subject, False, before.plan, after.plan, True, wall)

    def _tell(
        self, subject: str, before: str, after: str, now: datetime, watchers: tuple[Watcher, ...]
    ) -> None:
        """Record a firing of each watcher, if the plan is another one."""
        if before == after:
            return
        self._state.changes += 1
        for loop, step in dict.fromkeys((watcher.loop, watcher.step) for watcher in watchers):
            key = f"plan.changed:{step}:{self._state.changes}"
            self._state.fire(NewFiring(key, loop, step, subject, {"from": before, "to": after}), now)
