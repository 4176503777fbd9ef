"""Runs jobs of the code location in this process on the local instance, and returns their outcome.

Dagster is imported inside functions, because the import takes seconds and the command line imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from audit_assets.alerting.inputs import LIVE, LiveFacts
from audit_assets.settings import Settings
from audit_assets.warehouse.protocol import Mode

if TYPE_CHECKING:
    from dagster import Definitions

_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

DAGSTER_YAML = """\
# Written by `audit`; changes are overwritten.
telemetry:
  enabled: false
run_queue:
  max_concurrent_runs: 3
  dequeue_interval_seconds: 2
run_monitoring:
  enabled: true
  poll_interval_seconds: 120
run_retries:
  enabled: true
  max_retries: 0
retention:
  schedule:
    purge_after_days: {skipped: 1, failure: 30, success: 7}
  sensor:
    purge_after_days: {skipped: 1, failure: 30, success: 7}
nux:
  enabled: false
"""


@dataclass(frozen=True)
class BuildOutcome:
    """One run: its id, whether it succeeded, the first failure's message, and whether each asset check passed, by name.
    The checks in `not_checked` had no data to check: they neither passed nor failed."""

    run_id: str
    succeeded: bool
    failure: str | None
    checks: Mapping[str, bool]
    not_checked: frozenset[str] = frozenset()

    @property
    def passed(self) -> tuple[str, ...]:
        """The checks that passed, by name."""
        return tuple(sorted(name for name, passed in self.checks.items() if passed))

    @property
    def failing(self) -> tuple[str, ...]:
        """The checks that had data and failed, by name."""
        return tuple(
            sorted(name for name, passed in self.checks.items() if not passed and name not in self.not_checked)
        )


def prepare_instance(settings: Settings) -> None:
    """Writes dagster.yaml below the local folder and points DAGSTER_HOME there."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    path = settings.dagster_home / "dagster.yaml"
    if not path.exists() or path.read_text() != DAGSTER_YAML:
        path.write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)


def run_build(
    defs: Definitions, first: date, last: date, mode: Mode | None, fixed_now: datetime | None = None
) -> BuildOutcome:
    """Runs sync, models, snapshot and checks over the UTC days from `first` to `last`, as one run of the instance.
    Without a `mode` there is no sync: the models are rebuilt from the rows in the warehouse.

    `defs` is the code location. `fixed_now` (UTC) is what the run takes as now. It is stored in the run config, so that
    a re-execution from the UI uses the same time.
    """
    sync_config = {"ops": {"sync_ai_audit_logs": {"config": {"mode": mode}}}} if mode else {}
    one_day = first == last
    days = {} if one_day else {_RANGE_START: first.isoformat(), _RANGE_END: last.isoformat()}
    return _run(
        defs,
        "audit_sync" if mode else "audit_models",
        fixed_now,
        sync_config,
        partition_key=first.isoformat() if one_day else None,
        # A range is tagged as a backfill in any mode: upkeep deletes micro-batches with the records of their days.
        tags={**days, "audit/mode": (mode or "models") if one_day else "backfill"},
    )


def run_rules(defs: Definitions, fixed_now: datetime | None = None) -> BuildOutcome:
    """Judges the rules on the published snapshot, as one run of the instance. The arguments are as in `run_build`."""
    return _run(defs, "audit_judge", fixed_now, {}, partition_key=None, tags={"audit/mode": "judge"})


def _run(
    defs: Definitions,
    job_name: str,
    fixed_now: datetime | None,
    config: Mapping[str, Any],
    partition_key: str | None,
    tags: Mapping[str, str],
) -> BuildOutcome:
    from dagster import DagsterInstance

    from audit_assets.defs.not_checked import was_checked

    with DagsterInstance.get() as instance:
        result = defs.resolve_job_def(job_name).execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={
                **config,
                "loggers": {"terminal": {}},
                "resources": {"clock": {"config": {"fixed_now": fixed_now.isoformat() if fixed_now else None}}},
            },
            partition_key=partition_key,
            tags=dict(tags),
        )
        failures = [event.step_failure_data for event in result.get_step_failure_events()]
        evaluations = {each.asset_check_key.to_user_string(): each for each in result.get_asset_check_evaluations()}
    error = failures[0].error if failures else None
    while error is not None and error.cause is not None:  # the step's own error, below Dagster's
        error = error.cause
    failure = error.message.strip() if error else None
    checks = {name: evaluation.passed for name, evaluation in evaluations.items()}
    unchecked = frozenset(name for name, evaluation in evaluations.items() if not was_checked(evaluation.metadata))
    return BuildOutcome(result.run_id, result.success, failure, checks, unchecked)


def with_pipeline_facts(settings: Settings, facts: LiveFacts, now: datetime) -> LiveFacts:
    """`facts` with the state of checks and runs at `now` (UTC), from the local Dagster instance."""
    from dagster import DagsterInstance

    from audit_assets.defs.checks import watched_checks
    from audit_assets.defs.models import dbt_models
    from audit_assets.defs.pipeline import pipeline_facts
    from audit_assets.defs.project import read_project

    prepare_instance(settings)
    watched = watched_checks(dbt_models(read_project(settings)))
    with DagsterInstance.get() as instance:
        return facts.with_tables(pipeline_facts(instance, watched, LIVE, now, None), now, 0)
