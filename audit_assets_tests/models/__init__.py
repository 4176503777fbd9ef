"""Tests of the dbt models on a real DuckDB file, an emulator of BigQuery, and Google's analyzer and engine."""
