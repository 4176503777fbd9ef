"""Assets of the sync: raw rows by day, and the tables that record what each sync did."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    Config,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableSchema,
    multi_asset,
)
from pydantic import Field

from audit_assets.clock import Clock
from audit_assets.defs.project import ONE_RUN, OWNERS, Project, format_days, partition_days
from audit_assets.defs.resources import PostgresSource, RunClock, WarehouseResource
from audit_assets.ingest.policy import PolicyError
from audit_assets.ingest.source_connection import SourceError
from audit_assets.ingest.state_mirror import MirrorError, lag_seconds, mirror_document, write_mirror
from audit_assets.ingest.sync import SyncReport, sync
from audit_assets.ingest.windows import Request, WindowError
from audit_assets.settings import SettingsError
from audit_assets.warehouse.attempts import track_attempt
from audit_assets.warehouse.protocol import DayWindow, Load, Mode, WarehouseError
from audit_assets.warehouse.schema import SCHEMA, TABLES

RAW, SYNC_STATE, WORKSPACES = "ai_audit_logs", "ai_audit_sync_state", "ai_audit_workspaces"

# Tables that each sync materializes as a whole, without partitions.
_DESCRIPTIONS = {
    SYNC_STATE: "One row per sync: window, watermark, duration, and rows read, added, changed, removed and rejected.",
    "ai_audit_rejects": (
        "Source rows that could not be loaded, by reason. Loaded plus rejected rows equal the rows of the source."
    ),
    "ai_audit_repair_diff": (
        "Rows that later syncs changed, removed or found missing, each with its previous version."
    ),
    "ai_audit_discrepancies": (
        "Days on which the warehouse is known to differ from the source: a removal is held, or rows differ after a "
        "repair."
    ),
    "ai_audit_days": (
        "One row per UTC day: how often its rows changed, and whether the models have read the last change."
    ),
    WORKSPACES: (
        "One row per workspace in the source, fully read once an hour, with its last access (also without audit "
        "records)."
    ),
}
SYNCED = (RAW, *_DESCRIPTIONS)


def table_metadata(table: str, columns: list[TableColumn]) -> dict[str, Any]:
    """Asset metadata of a warehouse table for the UI: its qualified name and its columns."""
    return _columns(columns) | {"dagster/table_name": f"warehouse.{SCHEMA}.{table}"}


def _columns(columns: list[TableColumn]) -> dict[str, Any]:
    return {"dagster/column_schema": MetadataValue.table_schema(TableSchema(columns))}


def _schema(table: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The table's columns, with their descriptions from dbt's sources.yml."""
    found = (node["columns"] for node in manifest["sources"].values() if node["name"] == table)
    documented = next(found, dict[str, Any]())
    columns = [
        TableColumn(name, kind, description=documented.get(name, {}).get("description") or None)
        for name, kind in TABLES[table].items()
    ]
    return table_metadata(table, columns)


def source_tables(project: Project) -> list[AssetSpec]:
    """The source's tables, with the configured names and the types of docs/audit-log-analytics-sync.md."""
    source = project.policy.source
    logs, spaces = source.columns, source.workspaces.columns
    return [
        AssetSpec(
            "source_ai_audit_logs",
            group_name="source",
            kinds={"postgres"},
            owners=OWNERS,
            description=(
                "The application's own audit table. One row per interaction of the copilot, read only. "
                "Prompt and response texts are not copied."
            ),
            metadata=_columns(
                [
                    *(
                        TableColumn(name, "text")
                        for name in (logs.id, logs.workflow_id, logs.capability, logs.provider)
                    ),
                    TableColumn(logs.created_at, "timestamptz"),
                    TableColumn(logs.request_metadata, "jsonb"),
                    TableColumn(logs.response_metadata, "jsonb"),
                ]
            )
            | {"dagster/table_name": source.table},
        ),
        AssetSpec(
            "source_workflows",
            group_name="source",
            kinds={"postgres"},
            owners=OWNERS,
            description=(
                "The application's own table of workspaces. One row per workspace, with its last access; read only."
            ),
            metadata=_columns(
                [
                    *(TableColumn(name, "text") for name in (spaces.id, spaces.name, spaces.team, spaces.owner)),
                    TableColumn(spaces.last_accessed_at, "timestamptz"),
                ]
            )
            | {"dagster/table_name": source.workspaces.table},
        ),
    ]


def _specs(project: Project) -> list[AssetSpec]:
    engine = project.settings.engine
    return [
        AssetSpec(
            RAW,
            deps=["source_ai_audit_logs"],
            partitions_def=project.partitions,
            group_name="ingestion",
            kinds={engine, "table"},
            owners=OWNERS,
            freshness_policy=project.freshness,
            description=(
                "One row per interaction, by UTC day: who, what, when, outcome and duration, without prompt and "
                "response texts. Upserted by id; the watermark is saved with the rows it covers."
            ),
            metadata=_schema(RAW, project.manifest),
        ),
        *(
            AssetSpec(
                table,
                deps=["source_workflows" if table == WORKSPACES else "source_ai_audit_logs"],
                group_name="ingestion",
                kinds={engine, "table"},
                owners=OWNERS,
                description=description,
                metadata=_schema(table, project.manifest),
            )
            for table, description in _DESCRIPTIONS.items()
        ),
    ]


class SyncConfig(Config):
    """What a run reads. By default, a run from the UI re-reads its own partitions."""

    mode: Mode = Field(
        default="days",
        description="days: re-read the run's partitions. delta: new rows. full: the nightly repair.",
    )
    lookback_minutes: int | None = Field(
        default=None, description="Overrides the policy's look-back for delta and full."
    )
    accept_removal_by: str | None = Field(
        default=None, description="Who accepts the removal of rows that the source no longer has; recorded."
    )


def sync_asset(project: Project) -> AssetsDefinition:
    """The sync as one asset per table that it writes."""

    @multi_asset(
        name="sync_ai_audit_logs",
        specs=_specs(project),
        backfill_policy=ONE_RUN,
        # A backfill of ai_audit_logs from the asset graph selects it alone: the other tables have no partitions.
        can_subset=True,
        op_tags={"dagster/priority": "1"},
        description="Loads rows from the source into the warehouse, with one commit per UTC day.",
    )
    def sync_ai_audit_logs(
        context: AssetExecutionContext,
        config: SyncConfig,
        clock: RunClock,
        source: PostgresSource,
        warehouse: WarehouseResource,
    ) -> Iterator[MaterializeResult[Any]]:
        yield from _sync(context, config, project, clock.clock(), source, warehouse)

    return sync_ai_audit_logs


def _sync(
    context: AssetExecutionContext,
    config: SyncConfig,
    project: Project,
    clock: Clock,
    source: PostgresSource,
    warehouse: WarehouseResource,
) -> Iterator[MaterializeResult[Any]]:
    requested = partition_days(context) or (clock.today(),)
    lookback = timedelta(minutes=config.lookback_minutes) if config.lookback_minutes else None
    days = (requested[0], requested[-1]) if config.mode == "days" else None
    request = Request(config.mode, lookback=lookback, days=days, accept_removal_by=config.accept_removal_by)

    def log_window(window: DayWindow, load: Load) -> None:
        if load.counts.added or load.counts.changed or load.counts.removed:
            counts = load.counts
            context.log.info(
                f"{window.start:%Y-%m-%d} to {window.end:%Y-%m-%d %H:%M} UTC:"
                f" {counts.added} added, {counts.changed} changed, {counts.removed} removed"
            )

    try:
        with track_attempt(project.settings.attempts_folder, config.mode, clock()) as attempt:
            report = sync(
                source.address(), warehouse.open(), project.policy, request, log_window, clock, clock.fixed_at, attempt
            )
    except (SettingsError, PolicyError, SourceError, WarehouseError, WindowError) as error:
        raise Failure(description=str(error)) from error
    try:
        write_mirror(project.settings.state_file, report.run)
    except MirrorError as error:
        # Nothing in the pipeline reads the mirror: the models run, and the check state_mirror_is_current warns until
        # it is written.
        context.log.error(str(error))
    context.log.info(json.dumps({"event": "sync", **mirror_document(report.run)}))
    for warning in report.warnings:
        context.log.warning(warning)
    metadata = _metadata(report)
    for day in report.days:
        if day not in requested:  # late rows changed a day outside the run's partitions
            context.log_event(AssetMaterialization(RAW, partition=day.isoformat(), metadata=metadata))
    for table in SYNCED:
        if AssetKey(table) in context.selected_asset_keys:
            rows = _row_count(report) if table == WORKSPACES else {}
            yield MaterializeResult(AssetKey(table), metadata=metadata | rows)


def _row_count(report: SyncReport) -> dict[str, MetadataValue]:
    """The number of workspaces; empty if an earlier sync of the hour has already read them."""
    return {} if report.workspaces is None else {"dagster/row_count": MetadataValue.int(report.workspaces)}


def _metadata(report: SyncReport) -> dict[str, MetadataValue]:
    """The figures of a sync as asset metadata. Times are UTC."""
    run = report.run
    metadata: dict[str, MetadataValue] = {
        "records_synced": MetadataValue.int(run.counts.added + run.counts.changed),
        "records_read": MetadataValue.int(run.counts.read),
        "records_rejected": MetadataValue.int(sum(run.counts.rejected.values())),
        "records_removed": MetadataValue.int(run.counts.removed),
        "records_held": MetadataValue.int(report.held),
        "sync_duration_ms": MetadataValue.int(run.sync_duration_ms),
        "mode": MetadataValue.text(run.mode),
        "days_changed": MetadataValue.text(format_days(report.days)),
    }
    times = {
        "last_synced_at": run.last_synced_at,
        "source_max_created_at": run.source_max_created_at,
        "watermark": run.watermark,
    }
    metadata |= {name: MetadataValue.timestamp(moment) for name, moment in times.items() if moment is not None}
    lag = lag_seconds(run.source_max_created_at, run.watermark, run.last_synced_at)
    if lag is not None:
        metadata["lag_seconds"] = MetadataValue.float(lag)
    if report.warnings:
        metadata["warnings"] = MetadataValue.md("\n".join(f"- {warning}" for warning in report.warnings))
    return metadata
