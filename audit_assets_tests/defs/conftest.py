"""Fixtures that run the Dagster definitions over test homes."""

from audit_assets_tests.environments import built, built_home, empty_home, home

__all__ = ["built", "built_home", "empty_home", "home"]
