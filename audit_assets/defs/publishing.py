"""Assets downstream of the models: the published snapshot, which every reader uses, the copy of the alert ledger at the
end of a batch, and the dashboards as external assets."""

from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    asset,
    multi_asset,
)

from audit_assets.alerting.ledger.export import EXPORTED_COLUMNS, column_types, export_ledger
from audit_assets.alerting.ledger.tables import LedgerError
from audit_assets.defs.ingestion import SYNCED, table_metadata
from audit_assets.defs.project import OWNERS, Project
from audit_assets.defs.resources import AlertLedger, RunClock, WarehouseResource
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import Published, publish

SNAPSHOT = AssetKey("published_snapshot")

_DESCRIPTIONS = {
    "ai_audit_alerts": "One row per episode of a rule: its start, its deviation from usual, and how it ended.",
    "ai_audit_alert_events": "The events of each episode, in order; append only.",
    "ai_audit_alert_deliveries": "Deliveries: recipient, content, time, and the provider's response.",
    "ai_audit_remediations": "Remediation plans for runaway capabilities: who planned and approved them, the outcome.",
}


def published_snapshot(project: Project) -> AssetsDefinition:
    """The snapshot as an asset downstream of all tables."""

    @asset(
        key=SNAPSHOT,
        deps=[*SYNCED, *sorted(project.model_names)],
        group_name="serving",
        kinds={"parquet"},
        owners=OWNERS,
        freshness_policy=project.freshness,
        description=(
            "All tables as of one point in time, in immutable Parquet files with one manifest. Rules, dashboards and "
            "exports read the snapshot and never the live warehouse."
        ),
    )
    def published_snapshot(
        context: AssetExecutionContext, clock: RunClock, warehouse: WarehouseResource
    ) -> MaterializeResult[Any]:
        try:
            with warehouse.open().maintenance("publishing") as session:
                published = publish(session, project.settings.snapshot_folder, clock.now())
        except WarehouseError as error:
            raise Failure(description=str(error)) from error
        return MaterializeResult(metadata=_metadata(published))

    return published_snapshot


def _metadata(published: Published) -> dict[str, MetadataValue]:
    manifest = published.manifest
    rows = "\n".join(f"| {table} | {manifest.rows(table):,} |" for table in sorted(manifest.files))
    times = {
        "published_at": manifest.published_at,
        "last_synced_at": manifest.last_synced_at,
        "watermark": manifest.watermark,
    }
    return {
        "dagster/row_count": MetadataValue.int(manifest.rows("ai_audit_logs")),
        "files_written": MetadataValue.int(published.files_written),
        "files_removed": MetadataValue.int(published.files_removed),
        "tables": MetadataValue.md(f"| table | rows |\n|---|---:|\n{rows}"),
        **{name: MetadataValue.timestamp(moment) for name, moment in times.items() if moment is not None},
    }


def _specs(engine: str) -> list[AssetSpec]:
    return [
        AssetSpec(
            table.name,
            deps=[SNAPSHOT],
            skippable=True,  # a table without changes is not materialized
            group_name="alerting",
            kinds={engine, "table"},
            owners=OWNERS,
            description=f"{_DESCRIPTIONS[table.name]} Copied from the alert ledger after the rules were judged.",
            metadata=table_metadata(
                table.name,
                [
                    TableColumn(name, kind, description=EXPORTED_COLUMNS[table][name])
                    for name, kind in column_types(table).items()
                ],
            ),
        )
        for table in EXPORTED_COLUMNS
    ]


def ledger_export(project: Project) -> AssetsDefinition:
    """The copy of the ledger as one asset per table."""

    # The last step of a run, so that the copy contains what its rules found.
    @multi_asset(
        name="mirror_alert_ledger",
        specs=_specs(project.settings.engine),
        op_tags={"dagster/priority": "-1"},
        description="Copies changed rows of the ledger to the warehouse and publishes them.",
    )
    def mirror_alert_ledger(
        context: AssetExecutionContext, clock: RunClock, warehouse: WarehouseResource, ledger: AlertLedger
    ) -> Iterator[MaterializeResult[Any]]:
        try:
            with ledger.open() as opened, warehouse.open().maintenance("the alert ledger's copy") as session:
                written = export_ledger(opened, session)
                if written:
                    publish(session, project.settings.snapshot_folder, clock.now(), only=written.keys())
        except (LedgerError, WarehouseError) as error:
            raise Failure(description=str(error)) from error
        for table, rows in written.items():
            yield MaterializeResult(AssetKey(table), metadata={"dagster/row_count": MetadataValue.int(rows)})

    return mirror_alert_ledger


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
