"""Tests of audit_assets/defs: assets, checks, schedules and sensors on a real Dagster instance."""
