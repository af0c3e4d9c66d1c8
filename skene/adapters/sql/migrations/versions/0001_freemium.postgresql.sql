-- Tables of the freemium loop. {schema} stands for the schema's name and a dot, or for nothing.
-- Keys compare by bytes (COLLATE "C"): quicker, the same on every system, and proof against changes of the system's
-- collations.

CREATE TABLE {schema}skene_usage (
    subject text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    plan text COLLATE "C" NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    used bigint NOT NULL CHECK (used >= 0),
    part_starts timestamptz[] NOT NULL DEFAULT '{}',
    part_used bigint[] NOT NULL DEFAULT '{}',
    notices text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (subject, meter, plan)
) WITH (fillfactor = 75);  -- room for updates in place: no index names what changes

COMMENT ON TABLE {schema}skene_usage IS
    'What each subject has used of each meter on each plan, in the window that is running or ran last';

COMMENT ON COLUMN {schema}skene_usage.window_end IS
    'First instant after the window; the next use from then on opens another one';

COMMENT ON COLUMN {schema}skene_usage.part_starts IS
    'Rolling windows only: where each part of the window begins, oldest first; part_used has its units';

COMMENT ON COLUMN {schema}skene_usage.notices IS
    'Names of the warnings that were sent for this window';

CREATE TABLE {schema}skene_usage_history (
    subject text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    plan text COLLATE "C" NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    used bigint NOT NULL CHECK (used >= 0),
    PRIMARY KEY (subject, meter, plan, window_start)
);

COMMENT ON TABLE {schema}skene_usage_history IS
    'Windows that are over, for reports. A rolling window is never over and leaves nothing here';

CREATE TABLE {schema}skene_idempotency_keys (
    subject text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    repeated boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (subject, key)
);

COMMENT ON TABLE {schema}skene_idempotency_keys IS
    'Calls that were admitted under an Idempotency-Key: repeating one is free. Kept for a day';

CREATE TABLE {schema}skene_customers (
    subject text COLLATE "C" PRIMARY KEY,
    customer text COLLATE "C" UNIQUE,
    plan text,
    until timestamptz,
    default_plan text,
    paying boolean NOT NULL DEFAULT false,
    email text,
    cycle timestamptz[] NOT NULL DEFAULT '{}',
    checked_at timestamptz,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 90);

COMMENT ON TABLE {schema}skene_customers IS
    'Which customer of the billing service each subject is, and the plan the subject holds';

COMMENT ON COLUMN {schema}skene_customers.customer IS 'Id at the billing service; NULL when the plan was set by hand';

COMMENT ON COLUMN {schema}skene_customers.plan IS 'NULL: nothing is known yet, the default plan applies';

COMMENT ON COLUMN {schema}skene_customers.until IS
    'From this instant on the subject is on default_plan; NULL: no end in sight';

COMMENT ON COLUMN {schema}skene_customers.cycle IS 'Edges of the billing periods, for billing_cycle() windows';

COMMENT ON COLUMN {schema}skene_customers.checked_at IS 'When the billing service was last asked just before a refusal';

CREATE TABLE {schema}skene_subscriptions (
    customer text COLLATE "C" PRIMARY KEY,
    tickets bigint NOT NULL DEFAULT 0,
    applied bigint NOT NULL DEFAULT 0,
    plan text,
    until timestamptz,
    default_plan text,
    paying boolean NOT NULL DEFAULT false,
    subscription text,
    amount bigint,
    currency text,
    email text,
    cycle timestamptz[] NOT NULL DEFAULT '{}',
    attribution_seconds bigint NOT NULL DEFAULT 0,
    subscriptions json NOT NULL DEFAULT '[]',
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 90);

COMMENT ON TABLE {schema}skene_subscriptions IS
    'What the billing service last said of each of its customers, whether or not a subject is tied to it yet';

COMMENT ON COLUMN {schema}skene_subscriptions.tickets IS 'How many fetches were begun; numbers them';

COMMENT ON COLUMN {schema}skene_subscriptions.applied IS
    'Number of the fetch that was applied last; one with a lower number comes too late';

COMMENT ON COLUMN {schema}skene_subscriptions.subscription IS
    'The subscription that gives the plan; amount is what one period of it costs, in the minor unit of the currency';

COMMENT ON COLUMN {schema}skene_subscriptions.attribution_seconds IS
    'How far back a wall may lie to be credited, should a subject be tied to the customer only now';

COMMENT ON COLUMN {schema}skene_subscriptions.subscriptions IS 'In the words of the billing service';

CREATE TABLE {schema}skene_webhook_events (
    event text COLLATE "C" PRIMARY KEY,
    type text NOT NULL,
    received_at timestamptz NOT NULL
);

COMMENT ON TABLE {schema}skene_webhook_events IS
    'Webhooks that have been dealt with, kept for ever so that none acts twice';

CREATE TABLE {schema}skene_walls (
    id text COLLATE "C" PRIMARY KEY,
    loop text COLLATE "C" NOT NULL,
    step text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    plan text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    "limit" bigint NOT NULL,
    used bigint NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    held_out boolean NOT NULL,
    shadow boolean NOT NULL,
    opened_at timestamptz NOT NULL,
    prompted_at timestamptz,
    clicked_at timestamptz,
    checkout_at timestamptz,
    checkout_session text
);

CREATE INDEX skene_walls_standing ON {schema}skene_walls (subject, step, plan, window_end);

CREATE INDEX skene_walls_opened ON {schema}skene_walls (opened_at);

COMMENT ON TABLE {schema}skene_walls IS 'First refusal of a subject by a step in a window, and what came of it';

COMMENT ON COLUMN {schema}skene_walls.held_out IS 'The subject belongs to the group that is never asked to upgrade';

COMMENT ON COLUMN {schema}skene_walls.shadow IS 'The loop only watched: the call was let through';

COMMENT ON COLUMN {schema}skene_walls.prompted_at IS 'When the upgrade prompt was sent';

CREATE TABLE {schema}skene_conversions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    wall text COLLATE "C",
    loop text COLLATE "C",
    plan text NOT NULL,
    amount bigint,
    currency text,
    subscription text,
    converted_at timestamptz NOT NULL
);

CREATE INDEX skene_conversions_wall ON {schema}skene_conversions (wall);

CREATE INDEX skene_conversions_converted ON {schema}skene_conversions (converted_at);

COMMENT ON TABLE {schema}skene_conversions IS 'Subjects who began to pay, with the wall that is credited; NULL: none is';

COMMENT ON COLUMN {schema}skene_conversions.amount IS 'First payment in the minor unit of the currency';

CREATE TABLE {schema}skene_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE,
    kind text NOT NULL,
    loop text NOT NULL,
    step text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    plan text NOT NULL,
    channel text NOT NULL,
    template text NOT NULL,
    data json NOT NULL,
    wall text COLLATE "C",
    cancel_on_upgrade boolean NOT NULL,
    state text NOT NULL,
    due_at timestamptz,
    claim bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    begun bigint,
    first_attempt_at timestamptz,
    body json,
    reason text,
    provider_id text,
    created_at timestamptz NOT NULL,
    settled_at timestamptz
);

CREATE INDEX skene_outbox_due ON {schema}skene_outbox (due_at) WHERE due_at IS NOT NULL;

CREATE INDEX skene_outbox_subject ON {schema}skene_outbox (subject);

COMMENT ON TABLE {schema}skene_outbox IS 'Messages on their way, and what became of them';

COMMENT ON COLUMN {schema}skene_outbox.state IS 'pending, claimed, sent, cancelled, skipped, dead or parked';

COMMENT ON COLUMN {schema}skene_outbox.due_at IS
    'When a worker may take it: its time, or the end of the lease of the worker that has it; NULL when it is settled';

COMMENT ON COLUMN {schema}skene_outbox.claim IS 'How often it was taken; a worker with an older number has lost it';

COMMENT ON COLUMN {schema}skene_outbox.begun IS
    'Number of the claim under which an attempt has begun whose end was not recorded';

COMMENT ON COLUMN {schema}skene_outbox.body IS 'What is sent, frozen before the first attempt';

CREATE TABLE {schema}skene_forgotten (
    digest text COLLATE "C" PRIMARY KEY,
    forgotten_at timestamptz NOT NULL
);

COMMENT ON TABLE {schema}skene_forgotten IS
    'SHA-256 of the customer ids of erased subjects, so that a late webhook does not bring them back';
