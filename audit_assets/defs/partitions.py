"""The daily partitions (UTC) that all partitioned assets share, and the days of a run."""

from collections.abc import Sequence
from datetime import date

from dagster import AssetExecutionContext, BackfillPolicy, DailyPartitionsDefinition, FreshnessPolicy

from audit_assets.ingest.policy import SyncPolicy, read_policy
from audit_assets.settings import read_settings

# Read at import: partitions and freshness are part of the definitions, and change with a reload.
POLICY: SyncPolicy = read_policy(read_settings().policy_file)

# end_offset: the current day is a partition too, from its first second on.
DAILY = DailyPartitionsDefinition(start_date=POLICY.first_day.isoformat(), timezone="UTC", end_offset=1)

# A range is one run: the sync streams many days in one pass, and the models are built once.
ONE_RUN = BackfillPolicy.single_run()

# Ignores partitions and is only shown in the UI. The rule freshness_slo is what pages.
FRESHNESS = FreshnessPolicy.time_window(fail_window=POLICY.freshness)


def partition_days(context: AssetExecutionContext) -> tuple[date, ...]:
    """The UTC days of the run's partitions, in order; empty in a run without partitions."""
    if not context.has_partition_key_range and not context.has_partition_key:
        return ()
    return tuple(sorted(date.fromisoformat(key) for key in context.partition_keys))


def format_days(days: Sequence[date]) -> str:
    """Days as text for the UI; more than six as the first and the last."""
    if len(days) > 6:
        return f"{days[0]} to {days[-1]} ({len(days)} days)"
    return ", ".join(str(day) for day in days) or "none"
