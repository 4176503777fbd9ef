"""Assets of the sync: raw rows by day, and the tables that say what each sync did."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetMaterialization,
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

from audit_assets.defs.dbt_events import MANIFEST
from audit_assets.defs.liveness import mark_alive
from audit_assets.defs.partitions import DAILY, FRESH, ONE_RUN, POLICY, days_of, listed
from audit_assets.defs.resources import Surroundings
from audit_assets.ingest.mirror import MirrorError, lag_seconds, mirrored, write_mirror
from audit_assets.ingest.policy import PolicyError
from audit_assets.ingest.source_error import SourceError
from audit_assets.ingest.sync import SyncReport, sync
from audit_assets.ingest.windows import Request, WindowError
from audit_assets.settings import SettingsError, read_settings
from audit_assets.warehouse.protocol import DayWindow, Load, Mode, WarehouseError
from audit_assets.warehouse.schema import SCHEMA, TABLES

OWNERS = ["team:data-platform"]
ENGINE = read_settings().engine  # a kind of every table in the UI


def _schema(table: str) -> dict[str, Any]:
    """The table's columns, with what dbt's sources.yml says of them."""
    told = next((node["columns"] for node in MANIFEST["sources"].values() if node["name"] == table), {})
    columns = [
        TableColumn(name, kind, description=told.get(name, {}).get("description") or None)
        for name, kind in TABLES[table].items()
    ]
    return table_told(table, columns)


def table_told(table: str, columns: list[TableColumn]) -> dict[str, Any]:
    """What the UI is told of a table of the warehouse: its name there, and its columns."""
    return _columns(columns) | {"dagster/table_name": f"warehouse.{SCHEMA}.{table}"}


def _columns(columns: list[TableColumn]) -> dict[str, Any]:
    return {"dagster/column_schema": MetadataValue.table_schema(TableSchema(columns))}


def _source_columns() -> list[TableColumn]:
    """The customer's names; the types are those of docs/audit-log-analytics-sync.md."""
    names = POLICY.source.columns
    texts = [names.id, names.workflow_id, names.capability, names.provider]
    return [
        *(TableColumn(name, "text") for name in texts),
        TableColumn(names.created_at, "timestamptz"),
        TableColumn(names.request_metadata, "jsonb"),
        TableColumn(names.response_metadata, "jsonb"),
    ]


source_table = AssetSpec(
    "source_ai_audit_logs",
    group_name="source",
    kinds={"postgres"},
    owners=OWNERS,
    description=(
        "The application's own audit table. One row per interaction of the copilot, read only. "
        "Prompt and response text stay there."
    ),
    metadata=_columns(_source_columns()) | {"dagster/table_name": POLICY.source.table},
)

raw_logs = AssetSpec(
    "ai_audit_logs",
    deps=[source_table],
    partitions_def=DAILY,
    group_name="ingestion",
    kinds={ENGINE, "table"},
    owners=OWNERS,
    freshness_policy=FRESH,
    description=(
        "One row per interaction, by UTC day: who, what, when, how it ended and how long it took, without a word of "
        "prompt or response. Upserted by id; the watermark is saved with the rows it covers."
    ),
    metadata=_schema("ai_audit_logs"),
)


def _workspace_columns() -> list[TableColumn]:
    names = POLICY.source.workspaces.columns
    texts = [names.id, names.name, names.team, names.owner]
    return [*(TableColumn(name, "text") for name in texts), TableColumn(names.last_accessed_at, "timestamptz")]


source_workspaces = AssetSpec(
    "source_workflows",
    group_name="source",
    kinds={"postgres"},
    owners=OWNERS,
    description="The application's own table of workspaces. One row per workspace, with its last access; read only.",
    metadata=_columns(_workspace_columns()) | {"dagster/table_name": POLICY.source.workspaces.table},
)


def _beside(table: str, description: str, origin: AssetSpec = source_table) -> AssetSpec:
    """A table beside the raw rows: the whole of it after each sync, so it has no partitions."""
    return AssetSpec(
        table,
        deps=[origin],
        group_name="ingestion",
        kinds={ENGINE, "table"},
        owners=OWNERS,
        description=description,
        metadata=_schema(table),
    )


sync_state = _beside(
    "ai_audit_sync_state",
    "One row per sync: window, watermark, rows read, added, changed, removed, refused; how long.",
)
rejects = _beside(
    "ai_audit_rejects",
    "Source rows that could not be loaded, by reason. Loaded plus rejected is what the source holds.",
)
repair_diff = _beside(
    "ai_audit_repair_diff",
    "What later syncs changed, removed or found missing, each with the version that was there before.",
)
days = _beside(
    "ai_audit_days",
    "One row per UTC day: how often its rows changed, and whether the models have read the last change.",
)
workspaces = _beside(
    "ai_audit_workspaces",
    "One row per workspace that the source has now, read whole once an hour: who was there lately, record or not.",
    source_workspaces,
)

SYNCED = [raw_logs, sync_state, rejects, repair_diff, days, workspaces]


class SyncConfig(Config):
    """What one run reads. The UI's default re-reads the run's own partitions."""

    mode: Mode = Field(
        default="days",
        description="days: re-read the run's partitions. delta: what is new. full: the nightly repair.",
    )
    lookback_minutes: int | None = Field(
        default=None, description="Overrides the policy's look-back, for delta and full."
    )


@multi_asset(
    name="sync_ai_audit_logs",
    specs=SYNCED,
    backfill_policy=ONE_RUN,
    # A backfill of ai_audit_logs from the asset graph takes it alone: the tables beside it have no partitions.
    can_subset=True,
    op_tags={"dagster/priority": "1"},
)
def sync_ai_audit_logs(
    context: AssetExecutionContext, config: SyncConfig, surroundings: Surroundings
) -> Iterator[MaterializeResult]:
    """Brings rows from the source into the warehouse, a UTC day a commit."""
    asked = days_of(context) or (datetime.now(UTC).date(),)
    lookback = timedelta(minutes=config.lookback_minutes) if config.lookback_minutes else None
    request = Request(config.mode, lookback=lookback, days=(asked[0], asked[-1]) if config.mode == "days" else None)
    settings = surroundings.settings()
    mark_alive(settings, context.run.run_id)

    def told(window: DayWindow, load: Load) -> None:
        if load.counts.added or load.counts.changed or load.counts.removed:
            counts = load.counts
            context.log.info(
                f"{window.start:%Y-%m-%d} to {window.end:%Y-%m-%d %H:%M} UTC:"
                f" {counts.added} added, {counts.changed} changed, {counts.removed} removed"
            )

    try:
        report = sync(settings.source_url, surroundings.warehouse(), surroundings.policy(), request, told)
        write_mirror(settings.state_file, report.run)
    except (SettingsError, PolicyError, SourceError, WarehouseError, WindowError, MirrorError) as error:
        raise Failure(description=str(error)) from error
    context.log.info(json.dumps({"event": "sync", **mirrored(report.run)}))
    for warning in report.warnings:
        context.log.warning(warning)
    metadata = _told(report)
    for day in report.days:
        if day not in asked:  # late rows of a day this run is not about: that day's asset changed all the same
            context.log_event(AssetMaterialization("ai_audit_logs", partition=day.isoformat(), metadata=metadata))
    for spec in SYNCED:
        if spec.key in context.selected_asset_keys:
            yield MaterializeResult(spec.key, metadata=metadata | (_rows(report) if spec is workspaces else {}))


def _rows(report: SyncReport) -> dict[str, MetadataValue]:
    """How many workspaces there are; nothing where the hour's first sync has read them already."""
    return {} if report.workspaces is None else {"dagster/row_count": MetadataValue.int(report.workspaces)}


def _told(report: SyncReport) -> dict[str, MetadataValue]:
    """What a person wants to know of a sync, as the UI shows it. Times are UTC."""
    run = report.run
    known: dict[str, MetadataValue] = {
        "records_synced": MetadataValue.int(run.counts.added + run.counts.changed),
        "records_read": MetadataValue.int(run.counts.read),
        "records_rejected": MetadataValue.int(sum(run.counts.rejected.values())),
        "records_removed": MetadataValue.int(run.counts.removed),
        "sync_duration_ms": MetadataValue.int(run.sync_duration_ms),
        "mode": MetadataValue.text(run.mode),
        "days_changed": MetadataValue.text(listed(report.days)),
    }
    times = {
        "last_synced_at": run.last_synced_at,
        "source_max_created_at": run.source_max_created_at,
        "watermark": run.watermark,
    }
    known |= {name: MetadataValue.timestamp(moment) for name, moment in times.items() if moment is not None}
    lag = lag_seconds(run.source_max_created_at, run.watermark, run.last_synced_at)
    if lag is not None:
        known["lag_seconds"] = MetadataValue.float(lag)
    if report.warnings:
        known["warnings"] = MetadataValue.md("\n".join(f"- {warning}" for warning in report.warnings))
    return known
