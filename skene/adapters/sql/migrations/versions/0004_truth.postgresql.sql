-- What billing says beyond a plan: features, billed use, other limits for one customer, what became of conversions.
-- {schema} stands for the schema's name and a dot, or for nothing. Every column has a default that processes of the
-- release before can live with.

ALTER TABLE {schema}skene_customers
    ADD COLUMN features text[],
    ADD COLUMN overrides jsonb,
    ADD COLUMN merged_into text COLLATE "C";

CREATE INDEX skene_customers_merged ON {schema}skene_customers (merged_into) WHERE merged_into IS NOT NULL;

COMMENT ON COLUMN {schema}skene_customers.features IS
    'Lookup keys of what the billing service entitles to, whatever the plan; NULL: none';

COMMENT ON COLUMN {schema}skene_customers.overrides IS
    'Other limits for this subject: {"meter": {"limit": 500, "until": "2026-01-31T00:00:00.000000Z"}}, where a limit of '
    'null is unlimited and without "until" it has no end. NULL: none. skene_overrides says who, when and why';

COMMENT ON COLUMN {schema}skene_customers.merged_into IS
    'This was an anonymous subject: its calls count as those of the one named here';

ALTER TABLE {schema}skene_subscriptions
    ADD COLUMN features text[],
    ADD COLUMN started_at timestamptz,
    ADD COLUMN verified_at timestamptz;

COMMENT ON COLUMN {schema}skene_subscriptions.started_at IS 'When paying for it began, as the billing service says';

COMMENT ON COLUMN {schema}skene_subscriptions.verified_at IS
    'When this was last found to be what the billing service says, or made so';

CREATE INDEX skene_subscriptions_verified ON {schema}skene_subscriptions (verified_at, customer);

CREATE TABLE {schema}skene_overrides (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    "limit" bigint CHECK ("limit" >= 0),
    reason text NOT NULL,
    set_at timestamptz NOT NULL,
    expires_at timestamptz,
    ended_at timestamptz
);

CREATE INDEX skene_overrides_subject ON {schema}skene_overrides (subject, meter);

COMMENT ON TABLE {schema}skene_overrides IS
    'Other limits for single subjects. Every one that was ever set is kept; skene_customers.overrides has those in force';

COMMENT ON COLUMN {schema}skene_overrides."limit" IS 'Units per window whatever the plan; NULL: unlimited';

COMMENT ON COLUMN {schema}skene_overrides.ended_at IS 'When another one took its place, or it was taken back';

ALTER TABLE {schema}skene_usage
    ADD COLUMN billable boolean NOT NULL DEFAULT false,
    ADD COLUMN reported bigint NOT NULL DEFAULT 0 CHECK (reported >= 0),
    ADD COLUMN reported_since timestamptz,
    ADD COLUMN reports bigint NOT NULL DEFAULT 0;

CREATE INDEX skene_usage_billable ON {schema}skene_usage (meter, plan, subject) WHERE billable;

COMMENT ON COLUMN {schema}skene_usage.billable IS 'Used since it was last reported to the billing service';

COMMENT ON COLUMN {schema}skene_usage.reported IS
    'Units reported to the billing service, in the window that began at reported_since; 0 if that is not window_start';

COMMENT ON COLUMN {schema}skene_usage.reports IS 'How many reports there were, in all windows: names the next one';

ALTER TABLE {schema}skene_usage_history
    ADD COLUMN billable boolean NOT NULL DEFAULT false,
    ADD COLUMN reported bigint NOT NULL DEFAULT 0 CHECK (reported >= 0),
    ADD COLUMN reports bigint NOT NULL DEFAULT 0;

CREATE INDEX skene_usage_history_billable ON {schema}skene_usage_history (meter, plan, subject) WHERE billable;

ALTER TABLE {schema}skene_conversions
    ADD COLUMN again boolean NOT NULL DEFAULT false,
    ADD COLUMN ended_at timestamptz,
    ADD COLUMN refunded bigint NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    ADD COLUMN refunds json NOT NULL DEFAULT '{}',
    ADD COLUMN recorded_at timestamptz;

-- What can still be told of those that were recorded before: each but a subject's last had ended when the next began.
UPDATE {schema}skene_conversions AS one
SET again = told.again, ended_at = told.ended_at
FROM (
    SELECT told.id,
        row_number() OVER theirs > 1 AS again,
        coalesce(
            lead(told.converted_at) OVER theirs,
            CASE WHEN NOT held.paying THEN greatest(held.updated_at, told.converted_at) END,
            CASE WHEN held.until <= now() THEN greatest(held.until, told.converted_at) END
        ) AS ended_at
    FROM {schema}skene_conversions AS told
    LEFT JOIN {schema}skene_customers AS held USING (subject)
    WHERE told.subject <> ''
    WINDOW theirs AS (PARTITION BY told.subject ORDER BY told.converted_at, told.id)
) AS told
WHERE told.id = one.id AND (told.again OR told.ended_at IS NOT NULL);

CREATE INDEX skene_conversions_open ON {schema}skene_conversions (subject) WHERE ended_at IS NULL;

COMMENT ON COLUMN {schema}skene_conversions.again IS 'The subject had paid before, and had stopped';

COMMENT ON COLUMN {schema}skene_conversions.recorded_at IS
    'When skene learned of it, which may be long after converted_at; NULL: then';

COMMENT ON COLUMN {schema}skene_conversions.ended_at IS 'When the subject stopped paying; NULL: still does';

COMMENT ON COLUMN {schema}skene_conversions.refunded IS 'What was given back of the payments since, in the minor unit';

COMMENT ON COLUMN {schema}skene_conversions.refunds IS 'The same for each payment, by its id at the billing service';

CREATE TABLE {schema}skene_syncs (
    name text COLLATE "C" PRIMARY KEY,
    started_at timestamptz NOT NULL,
    lease_until timestamptz,
    claim bigint NOT NULL DEFAULT 0,
    stage text COLLATE "C" NOT NULL,
    cursor text COLLATE "C",
    counts json NOT NULL DEFAULT '{}',
    finished_at timestamptz
);

COMMENT ON TABLE {schema}skene_syncs IS
    'How far the comparison with the billing service has come: whoever goes on begins there';

-- The counters of members inside their teams, `<meter>@<member>`, by member: found when a person is erased. Those of
-- routes have a slash before any @, and are few here.
CREATE INDEX skene_usage_member ON {schema}skene_usage (substr(meter, strpos(meter, '@') + 1)) WHERE strpos(meter, '@') > 0;

CREATE INDEX skene_usage_history_member ON {schema}skene_usage_history (substr(meter, strpos(meter, '@') + 1))
    WHERE strpos(meter, '@') > 0;

CREATE INDEX skene_grants_member ON {schema}skene_grants (substr(meter, strpos(meter, '@') + 1))
    WHERE strpos(meter, '@') > 0;

CREATE INDEX skene_overrides_member ON {schema}skene_overrides (substr(meter, strpos(meter, '@') + 1))
    WHERE strpos(meter, '@') > 0;
