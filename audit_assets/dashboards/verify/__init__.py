"""Reconciliation of each tile with the raw rows."""
