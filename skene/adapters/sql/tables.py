"""The tables as the code sees them. `migrations/` creates them; a test keeps the two equal."""

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column

from skene.adapters.sql.indexes import NOTHING_TO_BILL, NOTHING_TO_DO, members, partly
from skene.adapters.sql.types import Instant, Instants, Json, Keyed, Names, Units, Words

__all__ = [
    "METADATA",
    "conversions",
    "customers",
    "decisions",
    "firings",
    "forgotten",
    "grants",
    "history",
    "journeys",
    "keys",
    "outbox",
    "overrides",
    "paces",
    "recipients",
    "subscriptions",
    "suppressions",
    "syncs",
    "ticks",
    "usage",
    "walls",
    "webhook_events",
]

METADATA = sa.MetaData()

# SQLite numbers rows by itself only in a column of exactly this type.
_Serial = BigInteger().with_variant(sa.Integer(), "sqlite")

usage = sa.Table(
    "skene_usage",
    METADATA,
    Column("subject", Words, primary_key=True),
    Column("meter", Words, primary_key=True),
    Column("plan", Words, primary_key=True),
    Column("window_start", Instant, nullable=False),
    Column("window_end", Instant, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("part_starts", Instants, nullable=False),
    Column("part_used", Units, nullable=False),
    Column("notices", Names, nullable=False),
    Column("extra", BigInteger, nullable=False, server_default="0"),
    Column("extra_since", Instant),
    Column("billable", Boolean, nullable=False, server_default=sa.false()),
    Column("reported", BigInteger, nullable=False, server_default="0"),
    Column("reported_since", Instant),
    Column("reports", BigInteger, nullable=False, server_default="0"),
)
members("skene_usage_member", usage.c.meter)
partly("skene_usage_billable", usage.c.billable, usage.c.meter, usage.c.plan, usage.c.subject)

grants = sa.Table(
    "skene_grants",
    METADATA,
    Column("id", _Serial, sa.Identity(always=True), primary_key=True),
    Column("subject", Words, nullable=False),
    Column("key", Words, nullable=False),
    Column("meter", Words, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    Column("granted_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("spent_at", Instant),
    Column("reason", Words, nullable=False),
    Column("loop", Words),
    sa.UniqueConstraint("subject", "key", name="skene_grants_key"),
)
members("skene_grants_member", grants.c.meter)
# Only what can be spent: looking stays quick, however many were spent before.
sa.Index(
    "skene_grants_left",
    grants.c.subject,
    grants.c.meter,
    postgresql_where=grants.c.spent < grants.c.units,
    sqlite_where=grants.c.spent < grants.c.units,
)

history = sa.Table(
    "skene_usage_history",
    METADATA,
    Column("subject", Words, primary_key=True),
    Column("meter", Words, primary_key=True),
    Column("plan", Words, primary_key=True),
    Column("window_start", Instant, primary_key=True),
    Column("window_end", Instant, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("billable", Boolean, nullable=False, server_default=sa.false()),
    Column("reported", BigInteger, nullable=False, server_default="0"),
    Column("reports", BigInteger, nullable=False, server_default="0"),
)
members("skene_usage_history_member", history.c.meter)
partly("skene_usage_history_billable", history.c.billable, history.c.meter, history.c.plan, history.c.subject)
partly("skene_usage_history_over", NOTHING_TO_BILL, history.c.window_end)

keys = sa.Table(
    "skene_idempotency_keys",
    METADATA,
    Column("subject", Words, primary_key=True),
    Column("key", Words, primary_key=True),
    Column("fingerprint", Words, nullable=False),
    Column("repeated", sa.Boolean, nullable=False, server_default=sa.false()),
    Column("created_at", Instant, nullable=False),
    sa.Index("skene_idempotency_keys_created", "created_at"),
)

customers = sa.Table(
    "skene_customers",
    METADATA,
    Column("subject", Words, primary_key=True),
    Column("customer", Words, unique=True),
    Column("plan", Words),
    Column("until", Instant),
    Column("default_plan", Words),
    Column("paying", Boolean, nullable=False),
    Column("email", Words),
    Column("cycle", Instants, nullable=False),
    Column("checked_at", Instant),
    Column("updated_at", Instant, nullable=False),
    Column("features", Names),
    Column("overrides", Keyed),
    Column("merged_into", Words),
)
partly("skene_customers_merged", customers.c.merged_into.is_not(None), customers.c.merged_into)
partly("skene_customers_until", customers.c.until.is_not(None), customers.c.until)

subscriptions = sa.Table(
    "skene_subscriptions",
    METADATA,
    Column("customer", Words, primary_key=True),
    Column("tickets", BigInteger, nullable=False),
    Column("applied", BigInteger, nullable=False),
    Column("plan", Words),
    Column("until", Instant),
    Column("default_plan", Words),
    Column("paying", Boolean, nullable=False),
    Column("subscription", Words),
    Column("amount", BigInteger),
    Column("currency", Words),
    Column("email", Words),
    Column("cycle", Instants, nullable=False),
    Column("attribution_seconds", BigInteger, nullable=False),
    Column("subscriptions", Json, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("features", Names),
    Column("started_at", Instant),
    Column("verified_at", Instant),
    sa.Index("skene_subscriptions_verified", "verified_at", "customer"),
)

overrides = sa.Table(
    "skene_overrides",
    METADATA,
    Column("id", _Serial, sa.Identity(always=True), primary_key=True),
    Column("subject", Words, nullable=False),
    Column("meter", Words, nullable=False),
    Column("limit", BigInteger),
    Column("reason", Words, nullable=False),
    Column("set_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("ended_at", Instant),
    sa.Index("skene_overrides_subject", "subject", "meter"),
)
members("skene_overrides_member", overrides.c.meter)

syncs = sa.Table(
    "skene_syncs",
    METADATA,
    Column("name", Words, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("lease_until", Instant),
    Column("claim", BigInteger, nullable=False, server_default="0"),
    Column("stage", Words, nullable=False),
    Column("cursor", Words),
    Column("counts", Json, nullable=False, server_default="{}"),
    Column("finished_at", Instant),
)

webhook_events = sa.Table(
    "skene_webhook_events",
    METADATA,
    Column("event", Words, primary_key=True),
    Column("type", Words, nullable=False),
    Column("received_at", Instant, nullable=False),
    sa.Index("skene_webhook_events_received", "received_at"),
)

walls = sa.Table(
    "skene_walls",
    METADATA,
    Column("id", Words, primary_key=True),
    Column("loop", Words, nullable=False),
    Column("step", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("plan", Words, nullable=False),
    Column("meter", Words, nullable=False),
    Column("limit", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("window_start", Instant, nullable=False),
    Column("window_end", Instant, nullable=False),
    Column("held_out", Boolean, nullable=False),
    Column("shadow", Boolean, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("prompted_at", Instant),
    Column("clicked_at", Instant),
    Column("checkout_at", Instant),
    Column("checkout_session", Words),
    sa.Index("skene_walls_standing", "subject", "step", "plan", "window_end"),
    sa.Index("skene_walls_opened", "opened_at"),
)

conversions = sa.Table(
    "skene_conversions",
    METADATA,
    Column("id", _Serial, sa.Identity(always=True), primary_key=True),
    Column("subject", Words, nullable=False),
    Column("wall", Words),
    Column("loop", Words),
    Column("plan", Words, nullable=False),
    Column("amount", BigInteger),
    Column("currency", Words),
    Column("subscription", Words),
    Column("converted_at", Instant, nullable=False),
    Column("again", Boolean, nullable=False, server_default=sa.false()),
    Column("ended_at", Instant),
    Column("refunded", BigInteger, nullable=False, server_default="0"),
    Column("refunds", Json, nullable=False, server_default="{}"),
    Column("recorded_at", Instant),
    sa.Index("skene_conversions_wall", "wall"),
    sa.Index("skene_conversions_converted", "converted_at"),
    sa.Index("skene_conversions_subject", "subject", "converted_at"),
)
partly("skene_conversions_open", conversions.c.ended_at.is_(None), conversions.c.subject)

outbox = sa.Table(
    "skene_outbox",
    METADATA,
    Column("id", _Serial, sa.Identity(always=True), primary_key=True),
    Column("key", Words, nullable=False, unique=True),
    Column("kind", Words, nullable=False),
    Column("loop", Words, nullable=False),
    Column("step", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("plan", Words, nullable=False),
    Column("channel", Words, nullable=False),
    Column("template", Words, nullable=False),
    Column("data", Json, nullable=False),
    Column("wall", Words),
    Column("cancel_on_upgrade", Boolean, nullable=False),
    Column("state", Words, nullable=False),
    Column("due_at", Instant),
    Column("claim", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("begun", BigInteger),
    Column("first_attempt_at", Instant),
    Column("body", Json),
    Column("reason", Words),
    Column("provider_id", Words),
    Column("created_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("journey", Words),
    Column("marketing", Boolean, nullable=False, server_default=sa.false()),
    sa.Index("skene_outbox_subject", "subject"),
)
partly("skene_outbox_due", outbox.c.due_at.is_not(None), outbox.c.due_at)
partly("skene_outbox_first", outbox.c.due_at.is_not(None) & ~outbox.c.marketing, outbox.c.due_at)
partly("skene_outbox_provider", outbox.c.provider_id.is_not(None), outbox.c.provider_id)
partly("skene_outbox_over", NOTHING_TO_DO, outbox.c.settled_at)
partly("skene_outbox_marketing", outbox.c.marketing, outbox.c.subject, outbox.c.settled_at)

forgotten = sa.Table(
    "skene_forgotten",
    METADATA,
    Column("digest", Words, primary_key=True),
    Column("forgotten_at", Instant, nullable=False),
)

firings = sa.Table(
    "skene_firings",
    METADATA,
    Column("id", _Serial, sa.Identity(always=True), primary_key=True),
    Column("key", Words, nullable=False, unique=True),
    Column("loop", Words, nullable=False),
    Column("step", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("data", Json, nullable=False),
    Column("journey", Words),
    Column("tick", Instant),
    Column("occurred_at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("deadline", Instant),
    Column("state", Words, nullable=False),
    Column("claim", BigInteger, nullable=False, server_default="0"),
    Column("failures", BigInteger, nullable=False, server_default="0"),
    Column("reason", Words),
    Column("settled_at", Instant),
    Column("goal_at", Instant),
    sa.Index("skene_firings_subject", "subject"),
)
partly("skene_firings_due", firings.c.due_at.is_not(None), firings.c.due_at, firings.c.id)
partly("skene_firings_over", firings.c.due_at.is_(None), firings.c.occurred_at)

ticks = sa.Table(
    "skene_ticks",
    METADATA,
    Column("step", Words, primary_key=True),
    Column("tick", Instant, primary_key=True),
    Column("opened_at", Instant, nullable=False),
    Column("scanned_at", Instant),
    sa.Index("skene_ticks_tick", "tick"),
)

recipients = sa.Table(
    "skene_recipients",
    METADATA,
    Column("subject", Words, primary_key=True),
    Column("step", Words, primary_key=True),
    Column("fired_at", Instant, nullable=False),
    Column("fires", BigInteger, nullable=False),
    Column("seen_tick", Instant),
    Column("firing", BigInteger, nullable=False),
)

journeys = sa.Table(
    "skene_journeys",
    METADATA,
    Column("id", Words, primary_key=True),
    Column("loop", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("begun_at", Instant, nullable=False),
    Column("within_seconds", BigInteger),
    Column("held_out", Boolean, nullable=False),
    Column("shadow", Boolean, nullable=False),
    Column("prompted_at", Instant),
    Column("clicked_at", Instant),
    Column("goal_at", Instant),
    sa.Index("skene_journeys_subject", "subject", "loop"),
    sa.Index("skene_journeys_begun", "begun_at"),
)

suppressions = sa.Table(
    "skene_suppressions",
    METADATA,
    Column("kind", Words, primary_key=True),
    Column("subject", Words, primary_key=True, server_default=""),
    Column("address", Words, primary_key=True, server_default=""),
    Column("at", Instant, nullable=False),
    Column("source", Words, nullable=False),
)

decisions = sa.Table(
    "skene_decisions",
    METADATA,
    Column("id", _Serial, sa.Identity(always=True), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("loop", Words, nullable=False),
    Column("step", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("phase", Words, nullable=False),
    Column("outcome", Words, nullable=False),
    Column("reason", Words),
    Column("firing", Words, nullable=False),
    sa.Index("skene_decisions_at", "at"),
    sa.Index("skene_decisions_subject", "subject"),
)

paces = sa.Table(
    "skene_paces",
    METADATA,
    Column("channel", Words, primary_key=True),
    Column("next_at", Instant, nullable=False),
)
