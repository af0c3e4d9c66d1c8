-- Messages that go first. {schema} stands for the schema's name and a dot, or for nothing.

-- However many of a campaign are due, a notice of a limit is found at once.
CREATE INDEX skene_outbox_first ON {schema}skene_outbox (due_at) WHERE due_at IS NOT NULL AND NOT marketing;
