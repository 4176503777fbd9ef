"""The dbt models as assets by day, and their tests as asset checks."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    Failure,
    MetadataValue,
    Output,
)
from dagster_dbt import DagsterDbtTranslator, DbtProject, dbt_assets
from dagster_dbt.asset_utils import get_subset_selection_for_context

from audit_assets.config.json_values import is_list
from audit_assets.defs.dbt_events import dbt_build
from audit_assets.defs.not_checked import replace_pass
from audit_assets.defs.project import ONE_RUN, OWNERS, Project, format_days, partition_days
from audit_assets.defs.resources import RunClock, WarehouseResource
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.settings import Settings
from audit_assets.warehouse.builds import count_rows, newest_sync
from audit_assets.warehouse.dbt_environment import profile_environment
from audit_assets.warehouse.protocol import Warehouse, WarehouseError
from audit_assets.warehouse.snapshot import PER_DAY


class Translator(DagsterDbtTranslator):
    """Single-part asset keys that equal the model names, freshness policies, and check descriptions.

    The checks have no partitions: a run over a range would plan one evaluation per day but record only one, and the UI
    would show the other days as skipped. An evaluation lists its days in its metadata.
    """

    def __init__(self, project: Project) -> None:
        super().__init__()
        self._engine, self._freshness = project.settings.engine, project.freshness

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        if not unique_id.startswith("model."):
            return spec
        kind = "view" if manifest["nodes"][unique_id]["config"]["materialized"] == "view" else "table"
        return spec.replace_attributes(
            kinds={"dbt", self._engine, kind}, owners=OWNERS, freshness_policy=self._freshness
        )

    def get_asset_check_spec(
        self, asset_spec: AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> AssetCheckSpec | None:
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None:
            return None
        test = manifest["nodes"][unique_id]
        description = spec.description or _describe_test(test)
        # With dbt's severity the check would block the snapshot. A failed check is reported and blocks nothing.
        # AssetCheckSpec is a named tuple; there is no other way to change a field.
        return spec._replace(description=description, blocking=False)  # pyright: ignore[reportPrivateUsage]


# Descriptions of the project's tests, filled with the test's arguments.
_TEST_DESCRIPTIONS = {
    "unique_combination_of_columns": "One row per {combination_of_columns}; none of them is null.",
    "accepted_values": "{column_name} is one of {values}.",
    "not_null": "{column_name} is never null.",
    "expression_is_true": "On every row {expression}.",
    "relationships": "Each {column_name} is a {field} of {to}.",
    "expectations_match_recount": "The expected values of each step equal a recount from its earlier counts.",
    "outcomes_match_recount": "The outcomes equal a recount from the counts of the steps; the base rates are {grid}'s.",
}


def _describe_test(test: Mapping[str, Any]) -> str | None:
    known: Mapping[str, Any] = test.get("test_metadata") or {}
    if known.get("name") not in _TEST_DESCRIPTIONS:
        return None
    arguments = known["kwargs"].get("arguments", known["kwargs"])
    values = {
        name: ", ".join(map(str, value)) if is_list(value) else str(value)
        for name, value in {**known["kwargs"], **arguments}.items()
    }
    text = _TEST_DESCRIPTIONS[known["name"]].format_map(values)
    return re.sub(r"ref\('(\w+)'\)", r"\1", text)


def dbt_models(project: Project) -> AssetsDefinition:
    """The models as one asset each, and their tests as asset checks."""
    translator = Translator(project)

    @dbt_assets(
        manifest=project.manifest,
        partitions_def=project.partitions,
        backfill_policy=ONE_RUN,
        dagster_dbt_translator=translator,
        name="models",
    )
    def models(context: AssetExecutionContext, clock: RunClock, warehouse: WarehouseResource) -> Iterator[Any]:
        yield from _build(context, models, project, translator, clock.now(), warehouse)

    return models


def _build(
    context: AssetExecutionContext,
    models: AssetsDefinition,
    project: Project,
    translator: Translator,
    now: datetime,
    resource: WarehouseResource,
) -> Iterator[Any]:
    """Builds the run's days, and all other days that a sync changed since the models last read them."""
    requested, settings, warehouse = partition_days(context), resource.settings(), resource.open()
    all_selected = context.selected_asset_keys == models.keys
    try:
        with warehouse.exclusive("the models"):
            with warehouse.maintenance_without_lock() as session:
                changed = session.unbuilt_days() if all_selected else ()
                sync_id = newest_sync(session)
                is_empty = bool(context.selected_asset_check_keys) and not count_rows(session)
            days, built = tuple(sorted({*requested, *changed})), set[str]()
            selection, indirect = _selection(context, models, project.manifest, translator)
            environment = _build_environment(days, indirect, now, project.policy, settings)
            try:
                for event in dbt_build(context, project.manifest, translator, selection, environment, settings):
                    if isinstance(event, Output):
                        built.add(context.asset_key_for_output(event.output_name).to_user_string())
                    yield _with_days(event, days, is_empty) if isinstance(event, AssetCheckResult) else event
            except Failure:
                # The models that were built count as fresh although another one failed. Those with a file per day are
                # published again only after their days are marked as built.
                if all_selected:
                    _record_builds(context, warehouse, project, built - set(PER_DAY), now, sync_id)
                raise
            if all_selected:
                with warehouse.maintenance_without_lock() as session:
                    session.mark_built(days)
                    session.record_builds(built, project.model_names, now, sync_id)
    except WarehouseError as error:
        raise Failure(description=str(error)) from error
    for day in sorted(set(changed) - set(requested)):
        for key in context.selected_asset_keys:
            context.log_event(AssetMaterialization(key, partition=day.isoformat()))


def _record_builds(
    context: AssetExecutionContext,
    warehouse: Warehouse,
    project: Project,
    built: set[str],
    at: datetime,
    sync_id: str | None,
) -> None:
    """Records the built models after a failed build. An error here is only logged, so that it does not hide the
    failure of the build."""
    try:
        with warehouse.maintenance_without_lock() as session:
            session.record_builds(built, project.model_names, at, sync_id)
    except WarehouseError as error:
        context.log.warning(f"could not record which models were built: {error}")


def _selection(
    context: AssetExecutionContext, models: AssetsDefinition, manifest: Mapping[str, Any], translator: Translator
) -> tuple[list[str], str | None]:
    """dbt's selection arguments for the run: all models with all or no tests, or a subset of models and tests. The
    second value is DBT_INDIRECT_SELECTION, if needed."""
    if context.selected_asset_keys == models.keys and context.selected_asset_check_keys in (set(), models.check_keys):
        return ["--select", "fqn:*"], None
    return get_subset_selection_for_context(
        context=context,
        manifest=manifest,
        select="fqn:*",
        exclude=None,
        selector=None,
        dagster_dbt_translator=translator,
        current_dbt_indirect_selection_env=None,
    )


def _with_days(result: AssetCheckResult, days: tuple[date, ...], is_empty: bool) -> AssetCheckResult:
    """`result` with the days it covers in its metadata: a test reads all built days, and a run over a range records it
    once. On an empty warehouse every test would pass, so a pass becomes "not checked"."""
    if is_empty:
        result = replace_pass(result, "the warehouse has no row yet; run `audit sync`")
    exact = MetadataValue.json([day.isoformat() for day in days])
    return result._replace(
        metadata={**result.metadata, "days": MetadataValue.text(format_days(days)), "built_days": exact}
    )


def _build_environment(
    days: tuple[date, ...], indirect: str | None, now: datetime, policy: SyncPolicy, settings: Settings
) -> dict[str, str]:
    """The environment variables that the models read: see dbt/macros/build_window.sql and statuses.sql."""
    environment = {
        "AI_AUDIT_BUILD_DAYS": ",".join(day.isoformat() for day in days),
        "AI_AUDIT_BUILD_NOW": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **policy.source.statuses.environment(),
        **profile_environment(settings),
    }
    return environment if indirect is None else {**environment, "DBT_INDIRECT_SELECTION": indirect}
