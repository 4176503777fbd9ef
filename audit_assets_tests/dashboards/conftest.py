"""The dashboards over homes of their own."""

from audit_assets_tests.dashboards.fixtures import browser, emptied, reader, shown, site, today
from audit_assets_tests.dashboards.shipped import shipped
from audit_assets_tests.homes import built

__all__ = ["browser", "built", "emptied", "reader", "shipped", "shown", "site", "today"]
