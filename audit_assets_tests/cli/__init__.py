"""Tests of audit_assets/cli: exit codes, printed lines and JSON that scripts depend on."""
