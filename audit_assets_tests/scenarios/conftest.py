"""Fixtures of end-to-end tests over test homes."""

from audit_assets_tests.environments import built, built_home, empty_home, home

__all__ = ["built", "built_home", "empty_home", "home"]
