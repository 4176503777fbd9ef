"""Tests of audit_assets.access, and of BigQuery's side of it."""
