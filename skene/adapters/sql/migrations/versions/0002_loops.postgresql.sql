-- Tables of the loops that triggers drive. {schema} stands for the schema's name and a dot, or for nothing.
-- What database triggers write is (key, loop, step, subject, data, state, occurred_at, due_at) of skene_firings: every
-- other column has a default that is right for a firing nobody has looked at.

CREATE TABLE {schema}skene_firings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE,
    loop text COLLATE "C" NOT NULL,
    step text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    data json NOT NULL,
    journey text COLLATE "C",
    tick timestamptz,
    occurred_at timestamptz NOT NULL,
    due_at timestamptz,
    deadline timestamptz,
    state text NOT NULL,
    claim bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    reason text,
    settled_at timestamptz,
    goal_at timestamptz
);

CREATE INDEX skene_firings_due ON {schema}skene_firings (due_at, id) WHERE due_at IS NOT NULL;

CREATE INDEX skene_firings_subject ON {schema}skene_firings (subject);

CREATE INDEX skene_firings_over ON {schema}skene_firings (occurred_at) WHERE due_at IS NULL;

COMMENT ON TABLE {schema}skene_firings IS 'What triggers have set off, and how far each has come';

COMMENT ON COLUMN {schema}skene_firings.key IS 'Unique: the same occurrence is never written twice';

COMMENT ON COLUMN {schema}skene_firings.subject IS 'Whom it is about; empty for a tick, which is about whomever it finds';

COMMENT ON COLUMN {schema}skene_firings.data IS 'The row or payload that set it off; erased when it has ended';

COMMENT ON COLUMN {schema}skene_firings.journey IS 'The journey it goes on with; NULL: it may begin one';

COMMENT ON COLUMN {schema}skene_firings.tick IS 'The instant of the schedule that it stands for; NULL: another trigger';

COMMENT ON COLUMN {schema}skene_firings.due_at IS
    'When a worker may take it: its time, or the end of the lease of the worker that has it; NULL when it has ended';

COMMENT ON COLUMN {schema}skene_firings.deadline IS 'Until when its condition may come true; NULL: not looked at yet';

COMMENT ON COLUMN {schema}skene_firings.state IS 'pending, claimed, done or dead';

COMMENT ON COLUMN {schema}skene_firings.claim IS 'How often it was taken; a worker with an older number has lost it';

COMMENT ON COLUMN {schema}skene_firings.goal_at IS
    'When an event reached the goal before this firing had begun a journey; the journey then begins with it';

CREATE TABLE {schema}skene_ticks (
    step text COLLATE "C" NOT NULL,
    tick timestamptz NOT NULL,
    opened_at timestamptz NOT NULL,
    scanned_at timestamptz,
    PRIMARY KEY (step, tick)
);

COMMENT ON TABLE {schema}skene_ticks IS 'Instants of schedules that were dealt with, each once over all processes';

COMMENT ON COLUMN {schema}skene_ticks.scanned_at IS 'When its query was read to the end; NULL: it never was';

CREATE TABLE {schema}skene_recipients (
    step text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    fired_at timestamptz NOT NULL,
    fires bigint NOT NULL,
    seen_tick timestamptz,
    firing bigint NOT NULL,
    PRIMARY KEY (subject, step)
) WITH (fillfactor = 75);  -- room for updates in place: no index names what changes

COMMENT ON TABLE {schema}skene_recipients IS 'Whom each step has acted upon, when and how often';

COMMENT ON COLUMN {schema}skene_recipients.seen_tick IS
    'The last tick whose result had the subject; who was not in the last whole result is acted upon again';

COMMENT ON COLUMN {schema}skene_recipients.firing IS 'Id of the firing that acted last';

CREATE TABLE {schema}skene_journeys (
    id text COLLATE "C" PRIMARY KEY,
    loop text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    begun_at timestamptz NOT NULL,
    within_seconds bigint,
    held_out boolean NOT NULL,
    shadow boolean NOT NULL,
    prompted_at timestamptz,
    clicked_at timestamptz,
    goal_at timestamptz
);

CREATE INDEX skene_journeys_subject ON {schema}skene_journeys (subject, loop);

CREATE INDEX skene_journeys_begun ON {schema}skene_journeys (begun_at);

COMMENT ON TABLE {schema}skene_journeys IS
    'Ways of subjects through loops, each from the firing that began it, and what came of it';

COMMENT ON COLUMN {schema}skene_journeys.within_seconds IS
    'How long after the beginning the goal still counts; NULL: the loop has no goal';

COMMENT ON COLUMN {schema}skene_journeys.held_out IS 'The subject belongs to the group that is left alone';

COMMENT ON COLUMN {schema}skene_journeys.shadow IS 'The loop only watched: nothing was done';

COMMENT ON COLUMN {schema}skene_journeys.prompted_at IS 'When its first message was sent';

COMMENT ON COLUMN {schema}skene_journeys.goal_at IS
    'When the goal was reached, in time; before begun_at: between its trigger and its beginning';

CREATE TABLE {schema}skene_suppressions (
    kind text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL DEFAULT '',
    address text COLLATE "C" NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    source text NOT NULL,
    PRIMARY KEY (kind, subject, address)
);

COMMENT ON TABLE {schema}skene_suppressions IS 'Who must not be written to, and why: a subject or an address';

COMMENT ON COLUMN {schema}skene_suppressions.kind IS 'unsubscribed (a subject), bounced or complained (an address)';

COMMENT ON COLUMN {schema}skene_suppressions.address IS 'SHA-256 of the address in lower case; empty for a subject';

CREATE TABLE {schema}skene_decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    loop text COLLATE "C" NOT NULL,
    step text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    phase text NOT NULL,
    outcome text NOT NULL,
    reason text,
    firing text COLLATE "C" NOT NULL
);

CREATE INDEX skene_decisions_at ON {schema}skene_decisions (at);

CREATE INDEX skene_decisions_subject ON {schema}skene_decisions (subject);

COMMENT ON TABLE {schema}skene_decisions IS
    'The log: how firings and walls were decided. Kept for 90 days, and the latest 1,000,000 rows at most';

COMMENT ON COLUMN {schema}skene_decisions.phase IS 'trigger, precheck, condition, gate or action: where it was decided';

COMMENT ON COLUMN {schema}skene_decisions.firing IS 'Key of the firing, or id of the wall';

CREATE TABLE {schema}skene_paces (
    channel text COLLATE "C" PRIMARY KEY,
    next_at timestamptz NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE {schema}skene_paces IS 'When each channel may send next, over all workers';

ALTER TABLE {schema}skene_outbox
    ADD COLUMN journey text COLLATE "C",
    ADD COLUMN marketing boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN {schema}skene_outbox.journey IS 'The journey it belongs to; it is not sent once that is over';

COMMENT ON COLUMN {schema}skene_outbox.marketing IS 'People may unsubscribe from it, and caps hold it back';

CREATE INDEX skene_outbox_provider ON {schema}skene_outbox (provider_id) WHERE provider_id IS NOT NULL;

CREATE INDEX skene_outbox_marketing ON {schema}skene_outbox (subject, settled_at) WHERE marketing;

-- However many messages of a campaign are due, a notice of a limit is found at once.
CREATE INDEX skene_outbox_first ON {schema}skene_outbox (due_at) WHERE due_at IS NOT NULL AND NOT marketing;

CREATE INDEX skene_conversions_subject ON {schema}skene_conversions (subject, converted_at);

CREATE INDEX skene_customers_until ON {schema}skene_customers (until) WHERE until IS NOT NULL;
