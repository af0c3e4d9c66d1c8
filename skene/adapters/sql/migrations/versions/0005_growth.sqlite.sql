-- What pruning looks for, oldest first, and nothing that has to stay. Why is written in the PostgreSQL version.

CREATE INDEX IF NOT EXISTS skene_idempotency_keys_created ON skene_idempotency_keys (created_at);

CREATE INDEX IF NOT EXISTS skene_webhook_events_received ON skene_webhook_events (received_at);

CREATE INDEX IF NOT EXISTS skene_ticks_tick ON skene_ticks (tick);

CREATE INDEX IF NOT EXISTS skene_outbox_over ON skene_outbox (settled_at) WHERE state IN ('sent', 'cancelled', 'skipped');

CREATE INDEX IF NOT EXISTS skene_usage_history_over ON skene_usage_history (window_end) WHERE NOT billable;
