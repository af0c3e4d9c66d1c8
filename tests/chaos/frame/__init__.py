"""What proofs are made of: callers with books, an app's processes, results, the page."""
