"""Plans in memory."""

from datetime import datetime, timedelta
from hashlib import sha256

from skene.adapters.memory.state import Conversion, Holder, Part, Payer
from skene.engine.standing import Standing
from skene.ports.accounts import Applied, Customer, Ticket, Update

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
            self._tie(update.subject, customer)
        if payer.subject is None:
            plan = update.standing.at(now, update.default_plan).plan
            return Applied(None, False, plan, plan)
        return self._hold(payer.subject, update, now)

    async def record_event(self, event: str, event_type: str) -> bool:
        """Remember a webhook that needs no fetch."""
        new = event not in self._state.events
        self._state.events.setdefault(event, event_type)
        return new

    async def link(self, subject: str, customer: str) -> None:
        """Tie a subject to a customer."""
        payer = self._tie(subject, customer)
        if payer.update is not None:
            self._hold(subject, payer.update, self._state.clock.now())

    async def set_plan(
        self, subject: str, standing: Standing, *, default_plan: str, attribution: timedelta
    ) -> Applied:
        """Set a plan by hand."""
        now = self._state.clock.now()
        holder = self._state.holders.setdefault(subject, Holder())
        return self._stand(subject, holder, standing, default_plan, attribution, now)

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

    def _tie(self, subject: str, customer: str) -> Payer:
        """Tie the two and cut earlier ties of either; who loses a customer loses what it gave."""
        state = self._state
        payer = state.payers.setdefault(customer, Payer())
        if payer.subject is not None and payer.subject != subject:
            del state.holders[payer.subject]
        holder = state.holders.setdefault(subject, Holder())
        if holder.customer is not None and holder.customer != customer:
            state.payers[holder.customer].subject = None
        holder.customer, payer.subject = customer, subject
        return payer

    def _hold(self, subject: str, update: Update, now: datetime) -> Applied:
        holder = self._state.holders[subject]
        holder.cycle, holder.email = update.cycle, update.email
        return self._stand(subject, holder, update.standing, update.default_plan, update.attribution, now)

    def _stand(
        self,
        subject: str,
        holder: Holder,
        standing: Standing,
        default: str,
        attribution: timedelta,
        now: datetime,
    ) -> Applied:
        before, after = holder.standing_at(now) or Standing(default), standing.at(now, default)
        holder.standing, holder.default = standing, default
        if before.paying or not after.paying:
            return Applied(subject, False, before.plan, after.plan)
        rows = self._state.standing.get(subject, {}).values()
        last = max(rows, key=lambda row: row.opened_at, default=None)
        wall = last.wall.id if last and last.opened_at >= now - attribution else None
        paid = after.subscription
        amount, currency = (paid.amount, paid.currency) if paid else (None, None)
        self._state.conversions.append(Conversion(subject, now, wall, amount, currency))
        return Applied(subject, False, before.plan, after.plan, True, wall)
