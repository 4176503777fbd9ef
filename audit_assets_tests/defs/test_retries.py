"""Failed scheduled runs are retried from the step that failed."""

from typing import Any

import pytest
from dagster import (
    DagsterInstance,
    ReexecutionOptions,
    RunRequest,
    build_schedule_context,
    execute_job,
    reconstructable,
)
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy

from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.environments import NOW, Home, definitions

pytestmark = pytest.mark.requirement("R15")


def sync_job() -> Any:
    return definitions().resolve_job_def("audit_sync")


def test_a_retry_goes_on_from_the_step_that_failed_and_reads_the_source_no_second_time(home: Home):
    settings = home.settings()
    aside = settings.snapshot_folder.rename(settings.snapshot_folder.with_name("aside"))
    settings.snapshot_folder.touch()  # a file in place of the folder makes publishing fail
    failed = home.build(mode="full")
    assert not failed.succeeded
    settings.snapshot_folder.unlink()
    aside.rename(settings.snapshot_folder)
    with DagsterInstance.get() as instance:
        first = instance.get_run_by_id(failed.run_id)
        assert first is not None
        scheduled = definitions().resolve_schedule_def("nightly_repair")(
            build_schedule_context(scheduled_execution_time=NOW)
        )
        assert isinstance(scheduled, RunRequest)
        assert int(scheduled.tags["dagster/max_retries"]) > 0
        strategy = ReexecutionStrategy(scheduled.tags["dagster/retry_strategy"])
        retry = (
            ReexecutionOptions.from_failure(failed.run_id, instance)
            if strategy is ReexecutionStrategy.FROM_FAILURE
            else ReexecutionOptions(parent_run_id=failed.run_id)
        )
        with execute_job(  # as Dagster's daemon does: with the run's own config and tags
            reconstructable(sync_job), instance, run_config=first.run_config, tags=dict(first.tags),
            reexecution_options=retry,
        ) as result:  # fmt: skip
            failures = [event.message for event in result.all_events if event.is_failure]
            steps = {event.step_key for event in result.all_events if event.is_step_start}
    assert failures == []
    assert {"published_snapshot", "rules", "mirror_alert_ledger"} <= steps
    assert steps.isdisjoint({"sync_ai_audit_logs", "models"})
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        found = connection.execute("select count(*) from analytics.ai_audit_sync_state where mode = 'full'").fetchall()
    assert found == [(1,)]
