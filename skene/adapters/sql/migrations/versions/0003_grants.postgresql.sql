-- Grants, and what they paid for. {schema} stands for the schema's name and a dot, or for nothing.

CREATE TABLE {schema}skene_grants (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    units bigint NOT NULL CHECK (units > 0),
    spent bigint NOT NULL DEFAULT 0 CHECK (spent BETWEEN 0 AND units),
    granted_at timestamptz NOT NULL,
    expires_at timestamptz,
    spent_at timestamptz,
    reason text NOT NULL,
    loop text COLLATE "C",
    CONSTRAINT skene_grants_key UNIQUE (subject, key)
) WITH (fillfactor = 90);

-- What is left to spend, and nothing else: looking stays quick, however many were spent before.
CREATE INDEX skene_grants_left ON {schema}skene_grants (subject, meter) WHERE spent < units;

COMMENT ON TABLE {schema}skene_grants IS
    'Units on top of what plans admit. Kept for ever, so that no key grants twice';

COMMENT ON COLUMN {schema}skene_grants.key IS 'Names the grant among those of its subject';

COMMENT ON COLUMN {schema}skene_grants.spent_at IS 'When some of it was spent last; what is given back goes there first';

COMMENT ON COLUMN {schema}skene_grants.expires_at IS 'From this instant on nothing can be spent; NULL: never';

ALTER TABLE {schema}skene_usage
    ADD COLUMN extra bigint NOT NULL DEFAULT 0 CHECK (extra >= 0),
    ADD COLUMN extra_since timestamptz;

COMMENT ON COLUMN {schema}skene_usage.extra IS
    'How many of the used units were paid with grants, in the window that began at extra_since. If that is not '
    'window_start, a process of an older release has moved the window on, and none were';
