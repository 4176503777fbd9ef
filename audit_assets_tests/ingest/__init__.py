"""Tests of the sync, against a real Postgres and a real DuckDB file."""
