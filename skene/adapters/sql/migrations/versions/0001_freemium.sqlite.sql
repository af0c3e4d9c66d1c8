-- Tables of the freemium loop. Instants are text of a fixed width in UTC (2026-03-01T09:30:00.000000Z), so that the
-- order of the text is the order of time; lists are JSON. What the columns mean is written in the PostgreSQL version.

-- What each subject has used of each meter on each plan, in the window that is running or ran last.
CREATE TABLE skene_usage (
    subject TEXT NOT NULL,
    meter TEXT NOT NULL,
    plan TEXT NOT NULL,
    window_start TEXT NOT NULL,
    window_end TEXT NOT NULL,
    used BIGINT NOT NULL CHECK (used >= 0),
    part_starts JSON NOT NULL DEFAULT '[]',
    part_used JSON NOT NULL DEFAULT '[]',
    notices JSON NOT NULL DEFAULT '[]',
    PRIMARY KEY (subject, meter, plan)
) WITHOUT ROWID;

-- Windows that are over, for reports. A rolling window is never over and leaves nothing here.
CREATE TABLE skene_usage_history (
    subject TEXT NOT NULL,
    meter TEXT NOT NULL,
    plan TEXT NOT NULL,
    window_start TEXT NOT NULL,
    window_end TEXT NOT NULL,
    used BIGINT NOT NULL CHECK (used >= 0),
    PRIMARY KEY (subject, meter, plan, window_start)
) WITHOUT ROWID;

-- Calls that were admitted under an Idempotency-Key: repeating one is free. Kept for a day.
CREATE TABLE skene_idempotency_keys (
    subject TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    repeated BOOLEAN NOT NULL DEFAULT FALSE,
    created_at TEXT NOT NULL,
    PRIMARY KEY (subject, key)
) WITHOUT ROWID;

-- Which customer of the billing service each subject is, and the plan the subject holds.
CREATE TABLE skene_customers (
    subject TEXT NOT NULL PRIMARY KEY,
    customer TEXT UNIQUE,
    plan TEXT,
    until TEXT,
    default_plan TEXT,
    paying BOOLEAN NOT NULL DEFAULT 0,
    email TEXT,
    cycle JSON NOT NULL DEFAULT '[]',
    checked_at TEXT,
    updated_at TEXT NOT NULL
) WITHOUT ROWID;

-- What the billing service last said of each of its customers, whether or not a subject is tied to it yet.
CREATE TABLE skene_subscriptions (
    customer TEXT NOT NULL PRIMARY KEY,
    tickets BIGINT NOT NULL DEFAULT 0,
    applied BIGINT NOT NULL DEFAULT 0,
    plan TEXT,
    until TEXT,
    default_plan TEXT,
    paying BOOLEAN NOT NULL DEFAULT 0,
    subscription TEXT,
    amount BIGINT,
    currency TEXT,
    email TEXT,
    cycle JSON NOT NULL DEFAULT '[]',
    attribution_seconds BIGINT NOT NULL DEFAULT 0,
    subscriptions JSON NOT NULL DEFAULT '[]',
    updated_at TEXT NOT NULL
) WITHOUT ROWID;

-- Webhooks that have been dealt with, kept for ever so that none acts twice.
CREATE TABLE skene_webhook_events (
    event TEXT NOT NULL PRIMARY KEY,
    type TEXT NOT NULL,
    received_at TEXT NOT NULL
) WITHOUT ROWID;

-- First refusal of a subject by a step in a window, and what came of it.
CREATE TABLE skene_walls (
    id TEXT NOT NULL PRIMARY KEY,
    loop TEXT NOT NULL,
    step TEXT NOT NULL,
    subject TEXT NOT NULL,
    plan TEXT NOT NULL,
    meter TEXT NOT NULL,
    "limit" BIGINT NOT NULL,
    used BIGINT NOT NULL,
    window_start TEXT NOT NULL,
    window_end TEXT NOT NULL,
    held_out BOOLEAN NOT NULL,
    shadow BOOLEAN NOT NULL,
    opened_at TEXT NOT NULL,
    prompted_at TEXT,
    clicked_at TEXT,
    checkout_at TEXT,
    checkout_session TEXT
) WITHOUT ROWID;

CREATE INDEX skene_walls_standing ON skene_walls (subject, step, plan, window_end);

CREATE INDEX skene_walls_opened ON skene_walls (opened_at);

-- Subjects who began to pay, with the wall that is credited; NULL: none is.
CREATE TABLE skene_conversions (
    id INTEGER NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    wall TEXT,
    loop TEXT,
    plan TEXT NOT NULL,
    amount BIGINT,
    currency TEXT,
    subscription TEXT,
    converted_at TEXT NOT NULL
);

CREATE INDEX skene_conversions_wall ON skene_conversions (wall);

CREATE INDEX skene_conversions_converted ON skene_conversions (converted_at);

-- Messages on their way, and what became of them.
CREATE TABLE skene_outbox (
    id INTEGER NOT NULL PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    loop TEXT NOT NULL,
    step TEXT NOT NULL,
    subject TEXT NOT NULL,
    plan TEXT NOT NULL,
    channel TEXT NOT NULL,
    template TEXT NOT NULL,
    data JSON NOT NULL,
    wall TEXT,
    cancel_on_upgrade BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    due_at TEXT,
    claim BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    begun BIGINT,
    first_attempt_at TEXT,
    body JSON,
    reason TEXT,
    provider_id TEXT,
    created_at TEXT NOT NULL,
    settled_at TEXT
);

CREATE INDEX skene_outbox_due ON skene_outbox (due_at) WHERE due_at IS NOT NULL;

CREATE INDEX skene_outbox_subject ON skene_outbox (subject);

-- SHA-256 of the customer ids of erased subjects, so that a late webhook does not bring them back.
CREATE TABLE skene_forgotten (
    digest TEXT NOT NULL PRIMARY KEY,
    forgotten_at TEXT NOT NULL
) WITHOUT ROWID;
