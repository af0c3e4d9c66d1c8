"""The same endpoint behind different gates, and what sends requests to it."""
