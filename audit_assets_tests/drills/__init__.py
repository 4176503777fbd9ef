"""Tests of audit_assets/drills."""
