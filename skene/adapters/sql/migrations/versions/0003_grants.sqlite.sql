-- Grants, and what they paid for. What the columns mean is written in the PostgreSQL version.

-- Units on top of what plans admit. Kept for ever, so that no key grants twice.
CREATE TABLE skene_grants (
    id INTEGER NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    key TEXT NOT NULL,
    meter TEXT NOT NULL,
    units BIGINT NOT NULL CHECK (units > 0),
    spent BIGINT NOT NULL DEFAULT 0 CHECK (spent BETWEEN 0 AND units),
    granted_at TEXT NOT NULL,
    expires_at TEXT,
    spent_at TEXT,
    reason TEXT NOT NULL,
    loop TEXT,
    CONSTRAINT skene_grants_key UNIQUE (subject, key)
);

-- What is left to spend, and nothing else.
CREATE INDEX skene_grants_left ON skene_grants (subject, meter) WHERE spent < units;

ALTER TABLE skene_usage ADD COLUMN extra BIGINT NOT NULL DEFAULT 0 CHECK (extra >= 0);

ALTER TABLE skene_usage ADD COLUMN extra_since TEXT;
