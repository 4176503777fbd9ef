"""What the definitions are built from: settings, sync policy, rules and dbt's manifest; and the days of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from dagster import AssetExecutionContext, BackfillPolicy, DailyPartitionsDefinition, FreshnessPolicy

from audit_assets.defs.dbt_events import read_manifest
from audit_assets.ingest.policy import SyncPolicy, read_policy
from audit_assets.rules.load import load_rules
from audit_assets.rules.model import RuleSet
from audit_assets.settings import Settings

OWNERS = ["team:data-platform"]

# A range is one run: the sync streams many days in one pass, and the models are built once.
ONE_RUN = BackfillPolicy.single_run()


@dataclass(frozen=True)
class Project:
    """The files and settings at the time the code location was loaded. A reload reads them again."""

    settings: Settings
    policy: SyncPolicy
    rules: RuleSet
    manifest: Mapping[str, Any]

    @cached_property
    def partitions(self) -> DailyPartitionsDefinition:
        """The UTC days since the policy's first day. The current day is a partition from its first second on."""
        return DailyPartitionsDefinition(start_date=self.policy.first_day.isoformat(), timezone="UTC", end_offset=1)

    @cached_property
    def freshness(self) -> FreshnessPolicy:
        """Ignores partitions and is only shown in the UI. The rule freshness_slo is what pages."""
        return FreshnessPolicy.time_window(fail_window=self.policy.freshness)

    @cached_property
    def model_names(self) -> frozenset[str]:
        return frozenset(node["name"] for node in self.manifest["nodes"].values() if node["resource_type"] == "model")


def read_project(settings: Settings) -> Project:
    """Reads the files that the settings name. Raises PolicyError, RuleError, or Failure if dbt's project does not
    parse."""
    return Project(
        settings, read_policy(settings.policy_file), load_rules(settings.rules_folder), read_manifest(settings)
    )


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
