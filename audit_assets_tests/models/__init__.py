"""Tests of the dbt models, on a real DuckDB file and on Google's analyzer."""
