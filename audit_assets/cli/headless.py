"""The local Dagster instance, and the sync job run in this process: the run that the UI would show, and its outcome.

The only part of the command line that reaches Dagster, and only when it is called: importing it takes seconds.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from audit_assets.settings import Settings
from audit_assets.warehouse.protocol import Mode

_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

_DAGSTER_YAML = """\
# Written by `audit`; changes are overwritten.
telemetry:
  enabled: false
run_queue:
  max_concurrent_runs: 3
  dequeue_interval_seconds: 2
run_monitoring:
  enabled: true
  poll_interval_seconds: 120
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
    """One run: its id, whether it succeeded, the first failure's words, and asset check → whether it passed."""

    run_id: str
    succeeded: bool
    failure: str | None
    checks: Mapping[str, bool]


def prepare_instance(settings: Settings) -> None:
    """Writes dagster.yaml below the local folder and points DAGSTER_HOME there."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    path = settings.dagster_home / "dagster.yaml"
    if not path.exists() or path.read_text() != _DAGSTER_YAML:
        path.write_text(_DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)


def run_build(settings: Settings, first: date, last: date, mode: Mode) -> BuildOutcome:
    """Runs sync, models, snapshot and checks over the UTC days from `first` to `last`, as one run of the instance."""
    from dagster import DagsterInstance

    from audit_assets.definitions import defs

    job = defs.resolve_job_def("audit_sync")
    one_day = first == last
    days = {} if one_day else {_RANGE_START: first.isoformat(), _RANGE_END: last.isoformat()}
    with DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={
                "ops": {"sync_ai_audit_logs": {"config": {"mode": mode}}},
                "loggers": {"terminal": {}},
            },
            partition_key=first.isoformat() if one_day else None,
            # A range is no micro-batch, however it reads: upkeep would delete it, and its days' records with it.
            tags={**days, "audit/mode": mode if one_day else "backfill"},
        )
        failures = [event.step_failure_data for event in result.get_step_failure_events()]
        checks = {
            evaluation.asset_check_key.to_user_string(): evaluation.passed
            for evaluation in result.get_asset_check_evaluations()
        }
    error = failures[0].error if failures else None
    while error is not None and error.cause is not None:  # the step's own words, below the engine's
        error = error.cause
    failure = error.message.strip() if error else None
    return BuildOutcome(result.run_id, result.success, failure, checks)
