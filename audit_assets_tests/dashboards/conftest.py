"""The dashboards over homes of their own."""

from audit_assets_tests.dashboards.proving import dashboards
from audit_assets_tests.homes import built, built_home, empty_home, home

__all__ = ["built", "built_home", "dashboards", "empty_home", "home"]
