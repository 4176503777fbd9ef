"""Tests of audit_assets/backtest."""
