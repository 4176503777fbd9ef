"""Backtests: rules replayed over history and over external series, with plots."""
