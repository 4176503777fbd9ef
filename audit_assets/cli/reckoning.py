"""What a run leaves behind, counted: source against warehouse, partitions and checks in Dagster's instance."""

from dataclasses import dataclass

from rich.table import Table

from audit_assets.cli.headless import BuildOutcome
from audit_assets.cli.screen import told
from audit_assets.ingest.gaps import read_gaps
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.source import open_source
from audit_assets.settings import Settings
from audit_assets.warehouse.opening import open_warehouse
from audit_assets.warehouse.protocol import start_of
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import open_snapshot


@dataclass(frozen=True)
class Reckoning:
    """Rows at the source, loaded and refused; rows the daily mart counts; checks and how many fail.

    `closed` is whether source and warehouse hold the same up to the watermark: rows that came since are not missing.
    """

    source_rows: int
    loaded_rows: int
    rejected_rows: int
    daily_rows: int
    days: int
    closed: bool
    checks: int
    failing: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every source row is loaded or refused, and the daily mart counts each loaded row once."""
        return self.closed and self.loaded_rows == self.daily_rows

    def table(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        table.add_row("rows at the source", told(self.source_rows))
        table.add_row("loaded", told(self.loaded_rows))
        table.add_row("refused, with a reason", told(self.rejected_rows))
        table.add_row("counted by ai_audit_daily", told(self.daily_rows))
        table.add_row("days (UTC)", told(self.days))
        table.add_row("", "they agree" if self.agrees else "[bold red]they do not agree[/]: see `audit gaps`")
        table.add_row(
            "asset checks", f"{self.checks}, {len(self.failing)} failing: {', '.join(self.failing) or 'none'}"
        )
        return table


def reckon(settings: Settings, outcome: BuildOutcome) -> Reckoning:
    """Counts both ends. Raises SnapshotError where nothing was published."""
    policy = read_policy(settings.policy_file)
    warehouse = open_warehouse(settings, policy.bigquery)
    gaps = read_gaps(settings.source_url, policy, warehouse, start_of(policy.first_day))
    with warehouse.keeper("counting") as keeper:
        ((loaded,),) = keeper.fetch(
            f"select count(*) from {SCHEMA}.ai_audit_logs where created_at >= timestamp '1900-01-01 00:00:00'"
        )
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
    failing = tuple(sorted(name.split(":")[-1] for name, passed in outcome.checks.items() if not passed))
    return Reckoning(at_source, loaded, rejected, daily, days, gaps.is_empty, len(outcome.checks), failing)
