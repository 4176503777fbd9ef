"""The export of the alert ledger to the warehouse as assets, at the end of a batch, after its rules were judged."""

from collections.abc import Iterator

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    multi_asset,
)

from audit_assets.alerting.ledger.export import EXPORTED_COLUMNS, column_types, export_ledger
from audit_assets.alerting.ledger.tables import LedgerError
from audit_assets.defs.ingestion import table_metadata
from audit_assets.defs.project import OWNERS, Project
from audit_assets.defs.publishing import SNAPSHOT
from audit_assets.defs.resources import AlertLedger, RunClock, WarehouseResource
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import publish

_DESCRIPTIONS = {
    "ai_audit_alerts": "One row per episode of a rule: its start, its deviation from usual, and how it ended.",
    "ai_audit_alert_events": "The events of each episode, in order; append only.",
    "ai_audit_alert_deliveries": "Deliveries: recipient, content, time, and the provider's response.",
    "ai_audit_remediations": "Remediation plans for runaway capabilities: who planned and approved them, the outcome.",
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
    ) -> Iterator[MaterializeResult]:
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
