"""The same endpoint behind skene, and behind gates as careful people write them by hand."""
