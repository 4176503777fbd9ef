"""The continuous sync's sensor: when it asks for a run, when it does not, and what it never touches."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, SensorResult, SkipReason, build_sensor_context
from dagster._core.test_utils import create_run_for_test

from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets_tests.homes import Home

pytestmark = pytest.mark.requirement("R15")


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: DagsterInstance, last: datetime | None) -> Any:
    """What the sensor says where it last requested a run at `last`."""
    from audit_assets.defs.resources import Surroundings
    from audit_assets.defs.schedules import audit_sync_sensor

    cursor = last.isoformat() if last else None
    with build_sensor_context(instance=instance, cursor=cursor, resources={"surroundings": Surroundings()}) as context:
        return audit_sync_sensor(context)


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def test_the_first_tick_requests_a_run(built_home: Home, instance: DagsterInstance):
    result = tick(instance, None)
    assert isinstance(result, SensorResult)
    (request,) = result.run_requests
    assert request.tags == {"audit/mode": "delta", "audit/reason": "heartbeat"}
    assert result.cursor is not None


def test_where_nothing_moved_it_waits_for_the_heartbeat(built_home: Home, instance: DagsterInstance):
    said = tick(instance, ago(5))
    assert isinstance(said, SkipReason)
    assert said.skip_message.startswith("nothing moved at the source; the next run is due at ")


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


def test_a_backfill_or_a_repair_holds_no_micro_batch_up(built_home: Home, instance: DagsterInstance):
    create_run_for_test(instance, job_name="audit_sync", status=DagsterRunStatus.STARTED)
    create_run_for_test(instance, job_name="audit_sync", status=DagsterRunStatus.STARTED, tags={"audit/mode": "full"})
    assert isinstance(tick(instance, ago(500)), SensorResult)


def test_a_micro_batch_whose_process_was_killed_is_buried_and_followed_by_another(
    built_home: Home, instance: DagsterInstance
):
    run = create_run_for_test(
        instance, job_name="audit_sync", status=DagsterRunStatus.STARTED, tags={"audit/mode": "delta"}
    )
    lock = built_home.folder / "dagster" / "alive" / run.run_id
    lock.parent.mkdir(exist_ok=True)
    lock.touch()  # held by nobody
    assert isinstance(tick(instance, ago(500)), SensorResult)
    buried = instance.get_run_by_id(run.run_id)
    assert buried is not None
    assert buried.status == DagsterRunStatus.FAILURE


def test_a_run_that_ended_holds_nothing_up(built_home: Home, instance: DagsterInstance):
    for status in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED):
        create_run_for_test(instance, job_name="audit_sync", status=status)
    assert isinstance(tick(instance, ago(500)), SensorResult)


def test_a_source_that_is_down_is_told_and_left_to_the_next_run(
    built_home: Home, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_AUDIT_SOURCE_URL", "postgresql://reader:open-sesame@127.0.0.1:1/app")
    said = tick(instance, ago(5)).skip_message
    assert "will put the failure on record" in said
    assert "open-sesame" not in said
    assert isinstance(tick(instance, ago(121)), SensorResult)


def test_it_never_opens_the_warehouse(home: Home, instance: DagsterInstance):
    settings = home.settings()
    home.insert(1)
    warehouse = DuckDBWarehouse(settings.duckdb_path, settings.lock_path)
    with warehouse.connection("a test that holds the warehouse"):
        began = datetime.now(UTC)
        assert isinstance(tick(instance, ago(5)), SensorResult)
        assert datetime.now(UTC) - began < timedelta(seconds=warehouse.timeout_seconds / 2)


def test_it_asks_for_no_models_tests_but_all_rules_and_bookkeeping(built_home: Home, instance: DagsterInstance):
    from audit_assets.definitions import defs
    from audit_assets.defs.checks import RULES

    (request,) = tick(instance, None).run_requests
    names = {key.name for key in request.asset_check_keys}
    assert names == {*RULES.ids, "state_mirror_is_current", "ids_are_unique"}
    executable = defs.resolve_asset_graph().executable_asset_keys
    assert set(request.asset_selection) == set(executable)
