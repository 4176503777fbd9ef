"""The dashboards as external assets: they are served, not materialized, and lie downstream of the models they read."""

from dagster import AssetSpec

from audit_assets.defs.project import OWNERS, Project
from audit_assets.defs.publishing import SNAPSHOT


def dashboards(project: Project) -> list[AssetSpec]:
    """One asset per dashboard in dbt's exposures. A test compares the exposures with the pages' YAML."""
    exposures = [exposure for exposure in project.manifest["exposures"].values() if exposure["type"] == "dashboard"]
    return [
        AssetSpec(
            f"dashboard_{exposure['name']}",
            deps=[
                *(
                    project.manifest["nodes"][name]["name"]
                    for name in exposure["depends_on"]["nodes"]
                    if name.startswith("model.")
                ),
                SNAPSHOT,
            ],
            group_name="dashboards",
            kinds={"dashboard"},
            owners=OWNERS,
            description=(
                f"{exposure['description']} `audit dashboards serve` serves it, as do `make demo` and `make dev`."
            ),
            metadata={"page": "/" if exposure["name"] == "overview" else f"/{exposure['name']}"},
        )
        for exposure in sorted(exposures, key=lambda exposure: exposure["name"])
    ]
