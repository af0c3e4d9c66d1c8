"""The loops at work: wiring, the gate, the recovery worker, webhooks and upgrade links."""
