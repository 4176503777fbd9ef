"""Tests of audit_assets.access, and of its implementation for BigQuery."""
