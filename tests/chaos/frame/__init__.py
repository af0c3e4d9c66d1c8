"""What proofs are made of: callers with books, an app's processes, a network that fails, results, the page."""
