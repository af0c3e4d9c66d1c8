"""The tables of the gates written by hand."""

__all__ = ["TABLES"]

TABLES = """
CREATE TABLE calls (id bigserial PRIMARY KEY, subject text NOT NULL);
CREATE INDEX ON calls (subject);
CREATE TABLE counters (subject text PRIMARY KEY, used bigint NOT NULL);
CREATE UNLOGGED TABLE quick_counters (subject text PRIMARY KEY, used bigint NOT NULL);
"""
