-- What billing says beyond a plan. What the columns mean is written in the PostgreSQL version.

ALTER TABLE skene_customers ADD COLUMN features JSON;

ALTER TABLE skene_customers ADD COLUMN overrides JSON;

ALTER TABLE skene_customers ADD COLUMN merged_into TEXT;

CREATE INDEX skene_customers_merged ON skene_customers (merged_into) WHERE merged_into IS NOT NULL;

ALTER TABLE skene_subscriptions ADD COLUMN features JSON;

ALTER TABLE skene_subscriptions ADD COLUMN started_at TEXT;

ALTER TABLE skene_subscriptions ADD COLUMN verified_at TEXT;

CREATE INDEX skene_subscriptions_verified ON skene_subscriptions (verified_at, customer);

-- Other limits for single subjects. Every one that was ever set is kept.
CREATE TABLE skene_overrides (
    id INTEGER NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    meter TEXT NOT NULL,
    "limit" BIGINT CHECK ("limit" >= 0),
    reason TEXT NOT NULL,
    set_at TEXT NOT NULL,
    expires_at TEXT,
    ended_at TEXT
);

CREATE INDEX skene_overrides_subject ON skene_overrides (subject, meter);

ALTER TABLE skene_usage ADD COLUMN billable BOOLEAN NOT NULL DEFAULT 0;

ALTER TABLE skene_usage ADD COLUMN reported BIGINT NOT NULL DEFAULT 0 CHECK (reported >= 0);

ALTER TABLE skene_usage ADD COLUMN reported_since TEXT;

ALTER TABLE skene_usage ADD COLUMN reports BIGINT NOT NULL DEFAULT 0;

CREATE INDEX skene_usage_billable ON skene_usage (meter, plan, subject) WHERE billable;

ALTER TABLE skene_usage_history ADD COLUMN billable BOOLEAN NOT NULL DEFAULT 0;

ALTER TABLE skene_usage_history ADD COLUMN reported BIGINT NOT NULL DEFAULT 0 CHECK (reported >= 0);

ALTER TABLE skene_usage_history ADD COLUMN reports BIGINT NOT NULL DEFAULT 0;

CREATE INDEX skene_usage_history_billable ON skene_usage_history (meter, plan, subject) WHERE billable;

ALTER TABLE skene_conversions ADD COLUMN again BOOLEAN NOT NULL DEFAULT 0;

ALTER TABLE skene_conversions ADD COLUMN ended_at TEXT;

ALTER TABLE skene_conversions ADD COLUMN refunded BIGINT NOT NULL DEFAULT 0 CHECK (refunded >= 0);

ALTER TABLE skene_conversions ADD COLUMN refunds JSON NOT NULL DEFAULT '{}';

ALTER TABLE skene_conversions ADD COLUMN recorded_at TEXT;

-- What can still be told of those that were recorded before: each but a subject's last had ended when the next began.
UPDATE skene_conversions
SET again = told.again, ended_at = told.ended_at
FROM (
    SELECT told.id,
        row_number() OVER theirs > 1 AS again,
        coalesce(
            lead(told.converted_at) OVER theirs,
            CASE WHEN NOT held.paying THEN max(held.updated_at, told.converted_at) END,
            CASE
                WHEN held.until <= strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') THEN max(held.until, told.converted_at)
            END
        ) AS ended_at
    FROM skene_conversions AS told
    LEFT JOIN skene_customers AS held USING (subject)
    WHERE told.subject <> ''
    WINDOW theirs AS (PARTITION BY told.subject ORDER BY told.converted_at, told.id)
) AS told
WHERE told.id = skene_conversions.id AND (told.again OR told.ended_at IS NOT NULL);

CREATE INDEX skene_conversions_open ON skene_conversions (subject) WHERE ended_at IS NULL;

-- How far the comparison with the billing service has come: whoever goes on begins there.
CREATE TABLE skene_syncs (
    name TEXT NOT NULL PRIMARY KEY,
    started_at TEXT NOT NULL,
    lease_until TEXT,
    claim BIGINT NOT NULL DEFAULT 0,
    stage TEXT NOT NULL,
    cursor TEXT,
    counts JSON NOT NULL DEFAULT '{}',
    finished_at TEXT
);
