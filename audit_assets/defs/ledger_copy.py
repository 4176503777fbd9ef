"""The ledger's copy in the warehouse as assets, made at the end of a batch, when its rules have been judged."""

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetSpec,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    multi_asset,
)

from audit_assets.alerting.ledger import LedgerError
from audit_assets.alerting.ledger_mirror import MIRRORED, column_types, mirror_ledger
from audit_assets.defs.ingestion import ENGINE, OWNERS, table_told
from audit_assets.defs.publishing import SNAPSHOT
from audit_assets.defs.resources import Surroundings
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import publish

_HELD = {
    "ai_audit_alerts": "One row per episode of a rule: since when, how far from usual, how it ended.",
    "ai_audit_alert_events": "What happened to each episode, in order; nothing is ever changed.",
    "ai_audit_alert_deliveries": "Who was told what, when, and what the provider said.",
    "ai_audit_remediations": "What was planned against a runaway capability, who approved it, and what came of it.",
}


def _copies() -> list[AssetSpec]:
    return [
        AssetSpec(
            table.name,
            deps=[SNAPSHOT],
            skippable=True,  # a table in which nothing happened is no news
            group_name="alerting",
            kinds={ENGINE, "table"},
            owners=OWNERS,
            description=f"{_HELD[table.name]} A copy of the alert ledger, made after the rules were judged.",
            metadata=table_told(
                table.name,
                [
                    TableColumn(name, kind, description=MIRRORED[table][name])
                    for name, kind in column_types(table).items()
                ],
            ),
        )
        for table in MIRRORED
    ]


# Last of a run: what its rules found is in the copy.
@multi_asset(name="mirror_alert_ledger", specs=_copies(), op_tags={"dagster/priority": "-1"})
def mirror_alert_ledger(context: AssetExecutionContext, surroundings: Surroundings) -> Iterator[MaterializeResult]:
    """Copies what changed in the ledger into the warehouse, and publishes it."""
    settings = surroundings.settings()
    try:
        with surroundings.ledger() as ledger, surroundings.warehouse().keeper("the alert ledger's copy") as held:
            written = mirror_ledger(ledger, held)
            if written:
                publish(held, settings.snapshot_folder, datetime.now(UTC), only=written.keys())
    except (LedgerError, WarehouseError) as error:
        raise Failure(description=str(error)) from error
    for table, rows in written.items():
        yield MaterializeResult(AssetKey(table), metadata={"dagster/row_count": MetadataValue.int(rows)})
