"""Plans: the verbs of `ports.accounts`, each in the caller's transaction."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from math import ceil
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.aliases import hold, living
from skene.adapters.sql.dialect import insert, serialise
from skene.adapters.sql.posting import post
from skene.adapters.sql.spells import Terms, begin_spell, end_spells, refund
from skene.adapters.sql.tables import customers, forgotten, subscriptions, webhook_events
from skene.adapters.sql.watching import tell
from skene.engine.standing import Standing, Subscription
from skene.ports.accounts import Applied, Customer, Ticket, Update

__all__ = [
    "apply_billing",
    "begin_sync",
    "claim_lookup",
    "digest",
    "get_customer",
    "link",
    "record_event",
    "set_plan",
    "standing_at",
]

Row = sa.RowMapping


def digest(customer: str) -> str:
    """What is remembered of a forgotten customer."""
    return sha256(customer.encode("utf-8", "surrogatepass")).hexdigest()


def standing_at(row: Row | None, now: datetime) -> Standing | None:
    """What a row of skene_customers says at an instant; None when billing has said nothing yet."""
    if row is None or row["plan"] is None:
        return None
    return Standing(row["plan"], row["until"], row["paying"]).at(now, row["default_plan"])


def begin_sync(connection: sa.Connection, now: datetime, customer: str, event: str | None) -> Ticket | None:
    """Draw a ticket before fetching a customer's state."""
    seen = sa.select(webhook_events.c.event).where(webhook_events.c.event == event)
    if event is not None and connection.scalar(seen) is not None:
        return None
    if _forgotten(connection, customer):
        return None
    table = subscriptions
    fresh: dict[str, Any] = {
        "tickets": 1,
        "applied": 0,
        "paying": False,
        "cycle": [],
        "attribution_seconds": 0,
    }
    draw = (
        insert(connection, table)
        .values(customer=customer, subscriptions=[], updated_at=now, **fresh)
        .on_conflict_do_update(
            index_elements=[table.c.customer], set_={"tickets": table.c.tickets + 1, "updated_at": now}
        )
        .returning(table.c.tickets)
    )
    return Ticket(customer, connection.execute(draw).scalar_one())


def apply_billing(connection: sa.Connection, now: datetime, update: Update, said: Any) -> Applied:
    """Apply what a fetch said, unless a later one was applied before.

    Args:
        connection: in a transaction.
        now: the storage's time.
        update: see the port.
        said: its `subscriptions_json`, parsed.
    """
    customer, default = update.ticket.customer, update.default_plan
    serialise(connection, "customer", customer)
    if update.event is not None:
        record_event(connection, now, update.event, update.event_type)
    if _forgotten(connection, customer):
        return Applied(None, True, default, default)
    applied = sa.select(subscriptions.c.applied).where(subscriptions.c.customer == customer)
    subject = _subject_of(connection, customer)
    if update.ticket.number < (connection.scalar(applied) or 0):
        _give_back(connection, now, subject, update)
        standing = standing_at(_row(connection, subject), now) if subject is not None else None
        plan = standing.plan if standing else default
        return Applied(subject, True, plan, plan)
    terms = Terms(update.attribution, update.credit, update.watchers, update.hooks)
    state = _remember(connection, now, update, said)
    if subject is None and update.subject is not None:
        named = hold(connection, update.subject)
        if _free(_row(connection, named), now):
            subject = named
            _tie(connection, now, subject, customer, terms)
    elif subject is not None:
        serialise(connection, "subject", subject)
    post(connection, now, [replace(one, subject=one.subject or subject or "") for one in update.drafts])
    if subject is None:
        plan = update.standing.at(now, default).plan
        return Applied(None, False, plan, plan)
    change = _hold(connection, now, subject, state, terms)
    _give_back(connection, now, subject, update)
    return change


def record_event(connection: sa.Connection, now: datetime, event: str, event_type: str) -> bool:
    """Remember a webhook. False: it was known already."""
    remember = (
        insert(connection, webhook_events)
        .values(event=event, type=event_type, received_at=now)
        .on_conflict_do_nothing()
        .returning(webhook_events.c.event)
    )
    return connection.scalar(remember) is not None


def link(connection: sa.Connection, now: datetime, subject: str, customer: str, terms: Terms) -> None:
    """Tie a subject to a customer, and let the customer's state apply."""
    serialise(connection, "customer", customer)
    subject = hold(connection, subject)
    _tie(connection, now, subject, customer, terms)
    known = sa.select(subscriptions).where(subscriptions.c.customer == customer)
    state = connection.execute(known).mappings().one_or_none()
    if state is not None and state["plan"] is not None:
        terms = replace(terms, attribution=timedelta(seconds=state["attribution_seconds"]))
        _hold(connection, now, subject, state, terms)


def set_plan(
    connection: sa.Connection,
    now: datetime,
    subject: str,
    standing: Standing,
    default_plan: str,
    terms: Terms,
) -> Applied:
    """Set a plan by hand."""
    subject = hold(connection, subject)
    return _stand(connection, now, subject, standing, default_plan, {}, terms)


def get_customer(connection: sa.Connection, now: datetime, subject: str) -> Customer | None:
    """The subject's record."""
    subject = living(connection, subject)
    row = _row(connection, subject)
    if row is None:
        return None
    features = tuple(row["features"] or ())
    return Customer(
        subject, row["customer"], row["plan"], row["until"], row["paying"], row["email"], features
    )


def claim_lookup(connection: sa.Connection, now: datetime, subject: str, every: timedelta) -> str | None:
    """Claim the right to ask the billing service about a subject."""
    subject = living(connection, subject)
    due = sa.or_(customers.c.checked_at.is_(None), customers.c.checked_at <= now - every)
    claim = (
        sa.update(customers)
        .where(customers.c.subject == subject, customers.c.customer.is_not(None), due)
        .values(checked_at=now)
        .returning(customers.c.customer)
    )
    customer: str | None = connection.scalar(claim)
    return customer


def _forgotten(connection: sa.Connection, customer: str) -> bool:
    known = sa.select(forgotten.c.digest).where(forgotten.c.digest == digest(customer))
    return connection.scalar(known) is not None


def _row(connection: sa.Connection, subject: str, *, lock: bool = False) -> Row | None:
    chosen = sa.select(customers).where(customers.c.subject == subject)
    rows = connection.execute(chosen.with_for_update() if lock else chosen)
    return rows.mappings().one_or_none()


def _subject_of(connection: sa.Connection, customer: str) -> str | None:
    tied = sa.select(customers.c.subject).where(customers.c.customer == customer)
    subject: str | None = connection.scalar(tied)
    return subject


def _free(row: Row | None, now: datetime) -> bool:
    """Whether no other customer gives the subject a plan."""
    if row is None or row["customer"] is None:
        return True
    standing = standing_at(row, now)
    return standing is None or standing.plan == row["default_plan"]


def _remember(connection: sa.Connection, now: datetime, update: Update, said: Any) -> Mapping[str, Any]:
    """Keep what the billing service says of a customer, for whoever is tied to it now or later."""
    standing = update.standing
    paid = standing.subscription
    state = {
        "applied": update.ticket.number,
        "plan": standing.plan,
        "until": standing.until,
        "default_plan": update.default_plan,
        "paying": standing.paying,
        "subscription": paid.id if paid else None,
        "amount": paid.amount if paid else None,
        "currency": paid.currency if paid else None,
        "started_at": paid.started_at if paid else None,
        "email": update.email,
        "cycle": list(update.cycle),
        "attribution_seconds": ceil(update.attribution.total_seconds()),
        "subscriptions": said,
        "features": list(update.features) or None,
        "updated_at": now,
        "verified_at": now,
    }
    tickets = update.ticket.number
    keep = insert(connection, subscriptions).values(customer=update.ticket.customer, tickets=tickets, **state)
    connection.execute(keep.on_conflict_do_update(index_elements=[subscriptions.c.customer], set_=state))
    return {"customer": update.ticket.customer, **state}


def _tie(connection: sa.Connection, now: datetime, subject: str, customer: str, terms: Terms) -> None:
    """Tie the two and cut earlier ties of either; who loses a customer loses what it gave."""
    earlier = sa.delete(customers).where(customers.c.customer == customer, customers.c.subject != subject)
    for loser in connection.execute(earlier.returning(customers)).mappings().all():
        if loser["overrides"] is not None:  # no customer gave it those
            own = {"subject": loser["subject"], "overrides": loser["overrides"], "updated_at": now}
            connection.execute(sa.insert(customers).values(paying=False, cycle=[], **own))
        if loser["plan"] is not None:
            _lose(connection, now, loser, Standing(loser["default_plan"]), terms)
    tie = insert(connection, customers).values(
        subject=subject, customer=customer, paying=False, cycle=[], updated_at=now
    )
    change = {"customer": customer, "updated_at": now}
    connection.execute(tie.on_conflict_do_update(index_elements=[customers.c.subject], set_=change))


def _hold(
    connection: sa.Connection,
    now: datetime,
    subject: str,
    state: sa.RowMapping | Mapping[str, Any],
    terms: Terms,
) -> Applied:
    """Give a subject what its customer has."""
    paid = None
    if state["subscription"] is not None:
        paid = Subscription(
            state["subscription"],
            "",
            state["plan"],
            amount=state["amount"],
            currency=state["currency"],
            started_at=state["started_at"],
        )
    standing = Standing(state["plan"], state["until"], state["paying"], paid)
    also = {"cycle": state["cycle"], "email": state["email"], "features": state["features"]}
    return _stand(connection, now, subject, standing, state["default_plan"], also, terms)


def _stand(
    connection: sa.Connection,
    now: datetime,
    subject: str,
    standing: Standing,
    default: str,
    also: Mapping[str, Any],
    terms: Terms,
) -> Applied:
    row = _row(connection, subject, lock=True)  # or the end of the plan could be noted meanwhile
    before = standing_at(row, now) or Standing(default)
    after = standing.at(now, default)
    state = {
        "plan": after.plan,  # one whose end has passed already is not noted as a lapse later on
        "until": after.until,
        "default_plan": default,
        "paying": after.paying,
        "updated_at": now,
        **also,
    }
    write = insert(connection, customers).values({"subject": subject, "cycle": [], **state})
    connection.execute(write.on_conflict_do_update(index_elements=[customers.c.subject], set_=state))
    if row is None or row["plan"] is None:
        tell(connection, now, subject, default, after.plan, terms.watchers, terms.hooks)
    else:
        _lose(connection, now, row, after, terms)
    if before.paying or not after.paying:
        return Applied(subject, False, before.plan, after.plan)
    wall = begin_spell(connection, now, subject, after, terms)
    return Applied(subject, False, before.plan, after.plan, True, wall)


def _lose(connection: sa.Connection, now: datetime, row: Row, after: Standing, terms: Terms) -> None:
    """Say that a subject holds another plan than was written down, and no longer pays for that one."""
    subject: str = row["subject"]
    until: datetime | None = row["until"]
    # What was written down is what watchers heard last, even if its end has passed unnoticed since.
    tell(connection, now, subject, row["plan"], after.plan, terms.watchers, terms.hooks)
    lapsed = until is not None and until <= now
    if row["paying"] and (lapsed or not after.paying):
        end_spells(connection, now, [(subject, until if until is not None and lapsed else now)], terms.hooks)


def _give_back(connection: sa.Connection, now: datetime, subject: str | None, update: Update) -> None:
    if subject is not None and update.refund is not None:
        refund(connection, now, subject, update.refund, update.hooks)
