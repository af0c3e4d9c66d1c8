-- Tables of the loops that triggers drive. Instants are text of a fixed width in UTC, lists and objects are JSON. What
-- the columns mean is written in the PostgreSQL version.

-- What triggers have set off, and how far each has come.
CREATE TABLE skene_firings (
    id INTEGER NOT NULL PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    loop TEXT NOT NULL,
    step TEXT NOT NULL,
    subject TEXT NOT NULL,
    data JSON NOT NULL,
    journey TEXT,
    tick TEXT,
    occurred_at TEXT NOT NULL,
    due_at TEXT,
    deadline TEXT,
    state TEXT NOT NULL,
    claim BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    reason TEXT,
    settled_at TEXT,
    goal_at TEXT
);

CREATE INDEX skene_firings_due ON skene_firings (due_at, id) WHERE due_at IS NOT NULL;

CREATE INDEX skene_firings_subject ON skene_firings (subject);

CREATE INDEX skene_firings_over ON skene_firings (occurred_at) WHERE due_at IS NULL;

-- Instants of schedules that were dealt with, each once over all processes.
CREATE TABLE skene_ticks (
    step TEXT NOT NULL,
    tick TEXT NOT NULL,
    opened_at TEXT NOT NULL,
    scanned_at TEXT,
    PRIMARY KEY (step, tick)
) WITHOUT ROWID;

-- Whom each step has acted upon, when and how often.
CREATE TABLE skene_recipients (
    step TEXT NOT NULL,
    subject TEXT NOT NULL,
    fired_at TEXT NOT NULL,
    fires BIGINT NOT NULL,
    seen_tick TEXT,
    firing BIGINT NOT NULL,
    PRIMARY KEY (subject, step)
) WITHOUT ROWID;

-- Ways of subjects through loops, each from the firing that began it, and what came of it.
CREATE TABLE skene_journeys (
    id TEXT NOT NULL PRIMARY KEY,
    loop TEXT NOT NULL,
    subject TEXT NOT NULL,
    begun_at TEXT NOT NULL,
    within_seconds BIGINT,
    held_out BOOLEAN NOT NULL,
    shadow BOOLEAN NOT NULL,
    prompted_at TEXT,
    clicked_at TEXT,
    goal_at TEXT
) WITHOUT ROWID;

CREATE INDEX skene_journeys_subject ON skene_journeys (subject, loop);

CREATE INDEX skene_journeys_begun ON skene_journeys (begun_at);

-- Who must not be written to, and why: a subject or an address, as its SHA-256.
CREATE TABLE skene_suppressions (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    at TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (kind, subject, address)
) WITHOUT ROWID;

-- The log: how firings and walls were decided. Kept for 90 days, and the latest 1,000,000 rows at most.
CREATE TABLE skene_decisions (
    id INTEGER NOT NULL PRIMARY KEY,
    at TEXT NOT NULL,
    loop TEXT NOT NULL,
    step TEXT NOT NULL,
    subject TEXT NOT NULL,
    phase TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    firing TEXT NOT NULL
);

CREATE INDEX skene_decisions_at ON skene_decisions (at);

CREATE INDEX skene_decisions_subject ON skene_decisions (subject);

-- When each channel may send next, over all workers.
CREATE TABLE skene_paces (
    channel TEXT NOT NULL PRIMARY KEY,
    next_at TEXT NOT NULL
) WITHOUT ROWID;

ALTER TABLE skene_outbox ADD COLUMN journey TEXT;

ALTER TABLE skene_outbox ADD COLUMN marketing BOOLEAN NOT NULL DEFAULT FALSE;

CREATE INDEX skene_outbox_provider ON skene_outbox (provider_id) WHERE provider_id IS NOT NULL;

CREATE INDEX skene_outbox_marketing ON skene_outbox (subject, settled_at) WHERE marketing;

-- However many messages of a campaign are due, a notice of a limit is found at once.
CREATE INDEX skene_outbox_first ON skene_outbox (due_at) WHERE due_at IS NOT NULL AND marketing = 0;

CREATE INDEX skene_conversions_subject ON skene_conversions (subject, converted_at);

CREATE INDEX skene_customers_until ON skene_customers (until) WHERE until IS NOT NULL;
