"""Tests of audit_assets/demo: the embedded Postgres, synthetic traffic, loading, supervision."""
