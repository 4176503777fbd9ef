"""Fixtures of the dashboard tests."""

from audit_assets_tests.dashboards.fixtures import browser, emptied, reader, shown, site, today
from audit_assets_tests.dashboards.proving import dashboards
from audit_assets_tests.dashboards.shipped import shipped
from audit_assets_tests.environments import built, built_home, empty_home, home

__all__ = [
    "browser",
    "built",
    "built_home",
    "dashboards",
    "emptied",
    "empty_home",
    "home",
    "reader",
    "shipped",
    "shown",
    "site",
    "today",
]
