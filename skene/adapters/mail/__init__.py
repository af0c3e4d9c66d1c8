"""What the notifiers share: templates, and the messages that come out of them."""
