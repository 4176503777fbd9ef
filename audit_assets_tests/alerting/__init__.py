"""Tests of the alerting: messages, ledger, delivery and clients."""
