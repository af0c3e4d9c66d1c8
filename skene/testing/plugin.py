"""pytest fixtures of the test kit."""
