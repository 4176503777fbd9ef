"""The published snapshot as an asset. Every reader of the tables uses it."""

from dagster import AssetExecutionContext, AssetKey, Failure, MaterializeResult, MetadataValue, asset

from audit_assets.defs.ingestion import OWNERS, SYNCED
from audit_assets.defs.models import models
from audit_assets.defs.partitions import FRESHNESS
from audit_assets.defs.resources import Surroundings
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import publish

SNAPSHOT = AssetKey("published_snapshot")


@asset(
    key=SNAPSHOT,
    deps=[*SYNCED, *sorted(models.keys)],
    group_name="serving",
    kinds={"parquet"},
    owners=OWNERS,
    freshness_policy=FRESHNESS,
    description=(
        "All tables as of one point in time, in immutable Parquet files with one manifest. Rules, dashboards and "
        "exports read the snapshot and never the live warehouse."
    ),
)
def published_snapshot(context: AssetExecutionContext, surroundings: Surroundings) -> MaterializeResult:
    settings = surroundings.settings()
    try:
        with surroundings.warehouse().maintenance("publishing") as session:
            published = publish(session, settings.snapshot_folder, surroundings.now())
    except WarehouseError as error:
        raise Failure(description=str(error)) from error
    manifest = published.manifest
    rows = "\n".join(f"| {table} | {manifest.rows(table):,} |" for table in sorted(manifest.files))
    times = {
        "published_at": manifest.published_at,
        "last_synced_at": manifest.last_synced_at,
        "watermark": manifest.watermark,
    }
    return MaterializeResult(
        metadata={
            "dagster/row_count": MetadataValue.int(manifest.rows("ai_audit_logs")),
            "files_written": MetadataValue.int(published.files_written),
            "files_removed": MetadataValue.int(published.files_removed),
            "tables": MetadataValue.md(f"| table | rows |\n|---|---:|\n{rows}"),
            **{name: MetadataValue.timestamp(moment) for name, moment in times.items() if moment is not None},
        }
    )
