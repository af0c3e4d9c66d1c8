"""The groups of rows, each to be run by itself."""
