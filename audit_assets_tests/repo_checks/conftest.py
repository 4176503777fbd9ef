"""Fixtures of the built home, on which the runbooks' queries run."""

from audit_assets_tests.environments import built, built_home

__all__ = ["built", "built_home"]
