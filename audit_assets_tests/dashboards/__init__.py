"""Tests of audit_assets/dashboards: what the pages show, and its proofs."""
