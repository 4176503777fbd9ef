"""Tests of the made worlds: the embedded Postgres, traffic, loading."""
