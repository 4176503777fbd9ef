"""The published snapshot as an asset. Every reader of the tables uses it."""

from dagster import AssetExecutionContext, AssetKey, AssetsDefinition, Failure, MaterializeResult, MetadataValue, asset

from audit_assets.defs.ingestion import SYNCED
from audit_assets.defs.project import OWNERS, Project
from audit_assets.defs.resources import RunClock, WarehouseResource
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import Published, publish

SNAPSHOT = AssetKey("published_snapshot")


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
    ) -> MaterializeResult:
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
