"""Tests of audit_assets/cli: what others script against."""
