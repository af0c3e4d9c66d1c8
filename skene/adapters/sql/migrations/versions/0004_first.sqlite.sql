-- Messages that go first: however many of a campaign are due, a notice of a limit is found at once.

CREATE INDEX skene_outbox_first ON skene_outbox (due_at) WHERE due_at IS NOT NULL AND marketing = 0;
