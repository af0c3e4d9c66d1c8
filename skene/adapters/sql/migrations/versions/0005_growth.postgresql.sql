-- Tables that stay quick and small for years. {schema} stands for the schema's name and a dot, or for nothing.
--
-- Settings need a lock that lets everybody read and write. An index makes writers of its table wait until it is there,
-- about a second for a million rows; where a table has many, make the same index with CREATE INDEX CONCURRENTLY before
-- the upgrade, which then finds it. The table that counting writes to comes last, so that it waits for itself alone.

-- What pruning looks for, oldest first, and nothing that has to stay.
CREATE INDEX IF NOT EXISTS skene_idempotency_keys_created ON {schema}skene_idempotency_keys (created_at);

CREATE INDEX IF NOT EXISTS skene_webhook_events_received ON {schema}skene_webhook_events (received_at);

CREATE INDEX IF NOT EXISTS skene_ticks_tick ON {schema}skene_ticks (tick);

CREATE INDEX IF NOT EXISTS skene_outbox_over ON {schema}skene_outbox (settled_at)
    WHERE state IN ('sent', 'cancelled', 'skipped');

COMMENT ON TABLE {schema}skene_outbox IS
    'Messages on their way, and what became of them. Kept for 400 days; what waits for a person, until it is dealt with';

COMMENT ON TABLE {schema}skene_webhook_events IS
    'Webhooks that have been dealt with, so that none acts twice. Kept for 400 days';

COMMENT ON TABLE {schema}skene_usage_history IS
    'Windows that are over, for reports. A rolling window is never over and leaves nothing here. Kept for 400 days';

COMMENT ON TABLE {schema}skene_syncs IS
    'How far the comparison with the billing service has come, and the look for counters that nobody uses any more: '
    'whoever goes on begins there';

-- A counter changes in place, in the room that fillfactor leaves on its page, and what it leaves behind is cleared by
-- whoever comes to the page next. So VACUUM has little to do here, however much is counted: a tenth of the rows is soon
-- enough. But it must not cut off empty pages at the end, for which it would lock out every decision, nor go slowly,
-- since its work is what keeps the free space known after a long transaction has held it up.
ALTER TABLE {schema}skene_usage SET (
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

-- Rows come in, change a few times and are pruned. Their changes touch indexes, or are deletions, and leave dead entries
-- where workers look first; a fiftieth of the rows is enough to clear them. Nothing is gained by giving pages back that
-- the next day needs again.
ALTER TABLE {schema}skene_outbox SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

ALTER TABLE {schema}skene_firings SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

ALTER TABLE {schema}skene_idempotency_keys SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

ALTER TABLE {schema}skene_decisions SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    vacuum_truncate = off
);

ALTER TABLE {schema}skene_usage_history SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    vacuum_truncate = off
);

CREATE INDEX IF NOT EXISTS skene_usage_history_over ON {schema}skene_usage_history (window_end) WHERE NOT billable;
