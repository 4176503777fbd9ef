"""The reconciliation after a run: rows of the source against the warehouse, and the results of asset checks."""

from dataclasses import dataclass
from datetime import datetime

from rich.table import Table

from audit_assets.cli.output import format_value
from audit_assets.cli.pipeline_runner import BuildOutcome
from audit_assets.ingest.gaps import read_gaps
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.source import open_source
from audit_assets.settings import Settings
from audit_assets.warehouse.builds import count_rows
from audit_assets.warehouse.factory import open_warehouse
from audit_assets.warehouse.protocol import start_of
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import open_snapshot


@dataclass(frozen=True)
class ReconcileReport:
    """Rows at the source, loaded, rejected, and counted by the daily mart; the number of checks, those that failed and
    those that had no data to check.

    `closed` is whether source and warehouse hold the same rows up to the watermark. Rows after it are not missing.
    """

    source_rows: int
    loaded_rows: int
    rejected_rows: int
    daily_rows: int
    days: int
    closed: bool
    checks: int
    failing: tuple[str, ...]
    not_checked: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether every source row is loaded or rejected, and the daily mart counts each loaded row once. False if
        there are no rows at all."""
        return not self.compared_nothing and self.closed and self.loaded_rows == self.daily_rows

    @property
    def compared_nothing(self) -> bool:
        return self.source_rows + self.loaded_rows + self.rejected_rows + self.daily_rows == 0

    def table(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        table.add_row("rows at the source", format_value(self.source_rows))
        table.add_row("loaded", format_value(self.loaded_rows))
        table.add_row("rejected, with a reason", format_value(self.rejected_rows))
        table.add_row("counted by ai_audit_daily", format_value(self.daily_rows))
        table.add_row("days (UTC)", format_value(self.days))
        differ = "no rows to compare" if self.compared_nothing else "the counts do not agree"
        table.add_row("", "the counts agree" if self.agrees else f"[bold red]{differ}[/]: see `audit gaps`")
        table.add_row(
            "asset checks", f"{self.checks}, {len(self.failing)} failing: {', '.join(self.failing) or 'none'}"
        )
        if self.not_checked:
            table.add_row("", f"{len(self.not_checked)} had no data to check: {', '.join(self.not_checked)}")
        return table


def reconcile(settings: Settings, outcome: BuildOutcome, source_now: datetime | None = None) -> ReconcileReport:
    """Counts the rows of source, warehouse and daily mart. `source_now` (UTC) replaces the source's clock. Raises
    SnapshotError if nothing has been published."""
    policy = read_policy(settings.policy_file)
    warehouse = open_warehouse(settings, policy.bigquery)
    gaps = read_gaps(settings.source_url, policy, warehouse, start_of(policy.first_day), source_now=source_now)
    with warehouse.maintenance("counting") as session:
        loaded = count_rows(session)
    with open_source(settings.source_url, policy) as source:
        at_source = source.count()
    with open_snapshot(settings.snapshot_folder) as connection:
        counted = connection.execute(
            f"""select
                (select coalesce(sum(row_count), 0)::bigint from {SCHEMA}.ai_audit_rejects),
                (select coalesce(sum(interaction_count), 0)::bigint from {SCHEMA}.ai_audit_daily),
                (select count(distinct date) from {SCHEMA}.ai_audit_daily)"""
        ).fetchone()
    assert counted is not None
    rejected, daily, days = counted
    failing, unchecked = (
        tuple(sorted(name.split(":")[-1] for name in names)) for names in (outcome.failing, outcome.not_checked)
    )
    return ReconcileReport(
        at_source, loaded, rejected, daily, days, gaps.is_empty, len(outcome.checks), failing, unchecked
    )
