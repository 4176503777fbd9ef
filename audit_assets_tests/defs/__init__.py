"""Tests of audit_assets/defs: assets, checks, schedules, on a real instance."""
