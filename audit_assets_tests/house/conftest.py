"""The runbooks' queries run on a home that was built once."""

from audit_assets_tests.homes import built, built_home

__all__ = ["built", "built_home"]
