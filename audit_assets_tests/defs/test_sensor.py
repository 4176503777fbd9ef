"""The continuous sync's sensor: when it requests a run, when it does not, and what it never opens."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, SensorResult, SkipReason

from audit_assets.defs.liveness import RETRIES, hold_run_lock
from audit_assets.rules.load import load_rules
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.defs.recording import create_run_for_test
from audit_assets_tests.environments import NOW, SYNC_CHECKS, Home, definitions, tick_sensor

pytestmark = pytest.mark.requirement("R15")


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: DagsterInstance, last: datetime | None) -> Any:
    """The sensor's result if it last requested a run at `last` (UTC)."""
    return tick_sensor("audit_sync_sensor", instance, last)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_the_first_tick_requests_a_run(built_home: Home, instance: DagsterInstance):
    result = tick(instance, None)
    assert isinstance(result, SensorResult)
    (request,) = result.run_requests or []
    assert request.tags == {"audit/mode": "delta", "audit/reason": "heartbeat"}
    assert result.cursor is not None


def test_where_nothing_moved_it_waits_for_the_heartbeat(built_home: Home, instance: DagsterInstance):
    result = tick(instance, ago(5))
    assert isinstance(result, SkipReason)
    assert str(result.skip_message).startswith("no new rows at the source; the next run is due at ")


def test_after_two_minutes_a_heartbeat_run_is_requested_though_nothing_moved(
    built_home: Home, instance: DagsterInstance
):
    result = tick(instance, ago(121))
    assert [request.tags["audit/reason"] for request in result.run_requests] == ["heartbeat"]


def test_a_row_at_the_source_is_reason_enough(home: Home, instance: DagsterInstance):
    home.insert(1)
    result = tick(instance, ago(5))
    assert [request.tags["audit/reason"] for request in result.run_requests] == ["source moved"]


@pytest.mark.parametrize(
    "status",
    [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING],
)
def test_while_a_micro_batch_is_queued_or_running_there_is_no_other(
    built_home: Home, instance: DagsterInstance, status: DagsterRunStatus
):
    create_run_for_test(instance, job_name="audit_sync", status=status, tags={"audit/mode": "delta"})
    assert tick(instance, ago(500)).skip_message == "a micro-batch is queued or running"


def test_a_killed_repair_is_failed_and_one_that_lives_is_left_alone(built_home: Home, instance: DagsterInstance):
    def started(mode: str) -> str:
        status, tags = DagsterRunStatus.STARTED, {"audit/mode": mode, **RETRIES}
        return create_run_for_test(instance, job_name="audit_sync", status=status, tags=tags).run_id

    settings = built_home.settings()
    killed, living, elsewhere = started("full"), started("full"), started("days")
    hold_run_lock(settings, living)
    (settings.dagster_home / "alive" / killed).touch()  # the system released the lock when the process ended
    assert isinstance(tick(instance, ago(500)), SensorResult), "neither blocks a micro-batch"
    runs = {run_id: instance.get_run_by_id(run_id) for run_id in (killed, living, elsewhere)}
    assert {run_id: run.status for run_id, run in runs.items() if run} == {
        killed: DagsterRunStatus.FAILURE,
        living: DagsterRunStatus.STARTED,
        elsewhere: DagsterRunStatus.STARTED,
    }


def test_a_backfill_or_a_repair_blocks_no_micro_batch(built_home: Home, instance: DagsterInstance):
    create_run_for_test(instance, job_name="audit_sync", status=DagsterRunStatus.STARTED)
    create_run_for_test(instance, job_name="audit_sync", status=DagsterRunStatus.STARTED, tags={"audit/mode": "full"})
    assert isinstance(tick(instance, ago(500)), SensorResult)


def test_a_micro_batch_whose_process_was_killed_is_marked_failed_and_followed_by_another(
    built_home: Home, instance: DagsterInstance
):
    run = create_run_for_test(
        instance, job_name="audit_sync", status=DagsterRunStatus.STARTED, tags={"audit/mode": "delta"}
    )
    lock = built_home.folder / "dagster" / "alive" / run.run_id
    lock.parent.mkdir(exist_ok=True)
    lock.touch()  # no process holds it
    assert isinstance(tick(instance, ago(500)), SensorResult)
    failed = instance.get_run_by_id(run.run_id)
    assert failed is not None
    assert failed.status == DagsterRunStatus.FAILURE


def test_a_run_that_ended_blocks_nothing(built_home: Home, instance: DagsterInstance):
    for status in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED):
        create_run_for_test(instance, job_name="audit_sync", status=status)
    assert isinstance(tick(instance, ago(500)), SensorResult)


def test_a_source_that_is_down_is_reported_and_left_to_the_next_run(
    built_home: Home, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_AUDIT_SOURCE_URL", "postgresql://reader:open-sesame@127.0.0.1:1/app")
    result = tick(instance, ago(5)).skip_message
    assert "will record the failure" in result
    assert "open-sesame" not in result
    assert isinstance(tick(instance, ago(121)), SensorResult)


def test_it_never_opens_the_warehouse(home: Home, instance: DagsterInstance):
    settings = home.settings()
    home.insert(1)
    warehouse = DuckDBWarehouse(settings.duckdb_path, settings.lock_path)
    with warehouse.connection("a test that locks the warehouse"):
        began = time.monotonic()
        assert isinstance(tick(instance, ago(5)), SensorResult)
        assert time.monotonic() - began < warehouse.timeout_seconds / 2


def test_it_asks_for_no_models_tests_but_all_rules_and_bookkeeping(built_home: Home, instance: DagsterInstance):
    (request,) = tick(instance, None).run_requests
    names = {key.name for key in request.asset_check_keys}
    assert names == {*load_rules(built_home.settings().rules_folder).ids, *SYNC_CHECKS}
    executable = definitions().resolve_asset_graph().executable_asset_keys
    assert set(request.asset_selection) == set(executable)
