"""The dashboards as assets: they are served, not made, and lie downstream of the models they read."""

from dagster import AssetSpec

from audit_assets.defs.dbt_events import MANIFEST
from audit_assets.defs.ingestion import OWNERS
from audit_assets.defs.publishing import SNAPSHOT


def _dashboards() -> list[AssetSpec]:
    """One a dashboard that dbt's exposures name; a test holds them to the pages' YAML."""
    exposures = [one for one in MANIFEST["exposures"].values() if one["type"] == "dashboard"]
    return [
        AssetSpec(
            f"dashboard_{one['name']}",
            deps=[
                *(MANIFEST["nodes"][name]["name"] for name in one["depends_on"]["nodes"] if name.startswith("model.")),
                SNAPSHOT,
            ],
            group_name="dashboards",
            kinds={"dashboard"},
            owners=OWNERS,
            description=f"{one['description']} `audit dashboards serve` serves it, as `make demo` and `make dev` do.",
            metadata={"page": "/" if one["name"] == "overview" else f"/{one['name']}"},
        )
        for one in sorted(exposures, key=lambda one: one["name"])
    ]


DASHBOARDS = _dashboards()
