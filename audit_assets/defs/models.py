"""The dbt models as assets by day, and their tests as asset checks."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetMaterialization,
    AssetSpec,
    Failure,
    MetadataValue,
)
from dagster_dbt import DagsterDbtTranslator, DbtProject, dbt_assets
from dagster_dbt.asset_utils import get_subset_selection_for_context

from audit_assets.defs.dbt_events import MANIFEST, dbt_build
from audit_assets.defs.ingestion import ENGINE, OWNERS
from audit_assets.defs.partitions import DAILY, FRESH, ONE_RUN, days_of, listed
from audit_assets.defs.resources import Surroundings
from audit_assets.settings import Settings
from audit_assets.warehouse.dbt_calls import profile_environment
from audit_assets.warehouse.protocol import WarehouseError


class Translator(DagsterDbtTranslator):
    """Single-part keys, one name everywhere; freshness on what people look at; checks that say what they promise.

    The checks have no partitions: a range run would plan one evaluation a day and record one in all, and the UI would
    show the other days as skipped. An evaluation names its days in its metadata.
    """

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        if not unique_id.startswith("model."):
            return spec
        kind = "view" if manifest["nodes"][unique_id]["config"]["materialized"] == "view" else "table"
        return spec.replace_attributes(kinds={"dbt", ENGINE, kind}, owners=OWNERS, freshness_policy=FRESH)

    def get_asset_check_spec(
        self, asset_spec: AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> AssetCheckSpec | None:
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None:
            return None
        test = manifest["nodes"][unique_id]
        described = spec.description or _promise(test)
        # By dbt's severity it would block the snapshot: a failed check is told, and holds nothing up.
        # AssetCheckSpec is a named tuple that offers no other way to change a field.
        return spec._replace(description=described, blocking=False)  # pyright: ignore[reportPrivateUsage]


# What a test of the project promises, from its arguments.
_PROMISES = {
    "grain_is_unique_and_complete": "One row per {columns}; none of them is null.",
    "sums_agree_by_day": "By day, {figure} equals {other_figure} of {other}.",
    "accepted_values": "{column_name} is one of {values}.",
    "holds_on_every_row": "On every row {expression}.",
    "relationships": "Each {column_name} is a {field} of {to}.",
}


def _promise(test: Mapping[str, Any]) -> str | None:
    known = test.get("test_metadata") or {}
    if known.get("name") not in _PROMISES:
        return None
    arguments = known["kwargs"].get("arguments", known["kwargs"])
    words = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in {**known["kwargs"], **arguments}.items()
    }
    said = _PROMISES[known["name"]].format_map(words)
    return re.sub(r"ref\('(\w+)'\)", r"\1", said)


TRANSLATOR = Translator()


@dbt_assets(
    manifest=MANIFEST, partitions_def=DAILY, backfill_policy=ONE_RUN, dagster_dbt_translator=TRANSLATOR, name="models"
)
def models(context: AssetExecutionContext, surroundings: Surroundings) -> Iterator[Any]:
    """Builds the run's days, and whatever other days a sync changed since the models last read them."""
    settings = surroundings.settings()
    asked = days_of(context)
    selection, indirect = _selection(context)
    whole = context.selected_asset_keys == models.keys
    warehouse = surroundings.warehouse()
    try:
        with warehouse.exclusive("the models"):
            with warehouse.opened() as keeper:
                changed = keeper.unbuilt_days() if whole else ()
            days = tuple(sorted({*asked, *changed}))
            window = _window(days, indirect, settings)
            for event in dbt_build(context, MANIFEST, TRANSLATOR, selection, window, settings):
                yield _dated(event, days) if isinstance(event, AssetCheckResult) else event
            if whole:
                with warehouse.opened() as keeper:
                    keeper.mark_built(days)
    except WarehouseError as error:
        raise Failure(description=str(error)) from error
    for day in sorted(set(changed) - set(asked)):
        for key in context.selected_asset_keys:
            context.log_event(AssetMaterialization(key, partition=day.isoformat()))


def _selection(context: AssetExecutionContext) -> tuple[list[str], str | None]:
    """dbt's arguments for what the run selects: every model, with all tests or none, or some of either."""
    if context.selected_asset_keys == models.keys and context.selected_asset_check_keys in (set(), models.check_keys):
        return ["--select", "fqn:*"], None
    return get_subset_selection_for_context(
        context=context,
        manifest=MANIFEST,
        select="fqn:*",
        exclude=None,
        selector=None,
        dagster_dbt_translator=TRANSLATOR,
        current_dbt_indirect_selection_env=None,
    )


def _dated(result: AssetCheckResult, days: tuple[date, ...]) -> AssetCheckResult:
    """A test reads all the days that were built, and a run over a range records it once: so it says which they were."""
    return result._replace(metadata={**result.metadata, "days": MetadataValue.text(listed(days))})


def _window(days: tuple[date, ...], indirect: str | None, settings: Settings) -> dict[str, str]:
    """What the models read from the environment: see dbt/macros/build_window.sql."""
    window = {
        "AI_AUDIT_BUILD_DAYS": ",".join(day.isoformat() for day in days),
        "AI_AUDIT_BUILD_NOW": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **profile_environment(settings),
    }
    return window if indirect is None else {**window, "DBT_INDIRECT_SELECTION": indirect}
