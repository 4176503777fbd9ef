"""The daily partitions (UTC) that every asset by day shares, and the days a run is about."""

from collections.abc import Sequence
from datetime import date

from dagster import AssetExecutionContext, BackfillPolicy, DailyPartitionsDefinition, FreshnessPolicy

from audit_assets.ingest.policy import SyncPolicy, read_policy
from audit_assets.settings import read_settings

# The file's values at load: partitions and freshness are part of the definitions, and change with a reload.
POLICY: SyncPolicy = read_policy(read_settings().policy_file)

# end_offset: the running day is a partition too, from its first second on.
DAILY = DailyPartitionsDefinition(start_date=POLICY.first_day.isoformat(), timezone="UTC", end_offset=1)

# A range is one run: the sync streams many days at once, and the models are built once.
ONE_RUN = BackfillPolicy.single_run()

# Not aware of partitions: a badge for the UI. The rule on data is what pages.
FRESH = FreshnessPolicy.time_window(fail_window=POLICY.freshness)


def days_of(context: AssetExecutionContext) -> tuple[date, ...]:
    """The UTC days of the run's partitions, in order; none in a run without partitions."""
    if not context.has_partition_key_range and not context.has_partition_key:
        return ()
    return tuple(sorted(date.fromisoformat(key) for key in context.partition_keys))


def listed(days: Sequence[date]) -> str:
    """Days as the UI shows them; many of them as first and last."""
    if len(days) > 6:
        return f"{days[0]} to {days[-1]} ({len(days)} days)"
    return ", ".join(str(day) for day in days) or "none"
