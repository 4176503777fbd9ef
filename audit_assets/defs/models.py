"""The dbt models as assets by day, and their tests as asset checks."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from dagster import AssetCheckSpec, AssetExecutionContext, AssetMaterialization, AssetSpec, Failure
from dagster_dbt import DagsterDbtTranslator, DbtProject, dbt_assets
from dagster_dbt.asset_utils import get_subset_selection_for_context

from audit_assets.defs.dbt_events import dbt_build, read_manifest
from audit_assets.defs.partitions import DAILY, FRESH, ONE_RUN, days_of
from audit_assets.defs.resources import Surroundings
from audit_assets.settings import read_settings
from audit_assets.warehouse.days import mark_built, unbuilt_days
from audit_assets.warehouse.protocol import WarehouseError

MANIFEST: Mapping[str, Any] = read_manifest(read_settings())


class Translator(DagsterDbtTranslator):
    """Single-part keys, one name everywhere; freshness on what people look at; checks that carry the run's day."""

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        if not unique_id.startswith("model."):
            return spec
        kind = "view" if manifest["nodes"][unique_id]["config"]["materialized"] == "view" else "table"
        return spec.replace_attributes(kinds={"dbt", "duckdb", kind}, freshness_policy=FRESH)

    def get_asset_check_spec(
        self, asset_spec: AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> AssetCheckSpec | None:
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None or asset_spec.partitions_def is None:
            return spec
        return spec._replace(partitions_def=DAILY)


TRANSLATOR = Translator()


@dbt_assets(
    manifest=MANIFEST, partitions_def=DAILY, backfill_policy=ONE_RUN, dagster_dbt_translator=TRANSLATOR, name="models"
)
def models(context: AssetExecutionContext, surroundings: Surroundings) -> Iterator[Any]:
    """Builds the run's days, and whatever other days a sync changed since the models last read them."""
    settings = surroundings.settings()
    asked = days_of(context)
    selection, indirect = get_subset_selection_for_context(
        context=context,
        manifest=MANIFEST,
        select="fqn:*",
        exclude=None,
        selector=None,
        dagster_dbt_translator=TRANSLATOR,
        current_dbt_indirect_selection_env=None,
    )
    whole = not context.is_subset
    warehouse = surroundings.warehouse()
    try:
        with warehouse.exclusive("the models"):
            with warehouse.opened() as connection:
                changed = unbuilt_days(connection) if whole else ()
            days = tuple(sorted({*asked, *changed}))
            yield from dbt_build(
                context, MANIFEST, TRANSLATOR, selection, _window(days, indirect, settings.duckdb_path), settings
            )
            if whole:
                with warehouse.opened() as connection:
                    mark_built(connection, days)
    except WarehouseError as error:
        raise Failure(description=str(error)) from error
    for day in sorted(set(changed) - set(asked)):
        for key in context.selected_asset_keys:
            context.log_event(AssetMaterialization(key, partition=day.isoformat()))


def _window(days: tuple[date, ...], indirect: str | None, duckdb_path: object) -> dict[str, str]:
    """What the models read from the environment: see dbt/macros/build_window.sql."""
    window = {
        "AI_AUDIT_BUILD_DAYS": ",".join(day.isoformat() for day in days),
        "AI_AUDIT_BUILD_NOW": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "AI_AUDIT_DUCKDB_PATH": str(duckdb_path),
    }
    return window if indirect is None else {**window, "DBT_INDIRECT_SELECTION": indirect}
