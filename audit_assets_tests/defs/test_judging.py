"""Judging where the sync is dead: who asks for it, and what the rules see then."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, SensorResult, SkipReason, build_sensor_context
from dagster._core.test_utils import create_run_for_test

from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source_error import SourceError
from audit_assets.ingest.sync import sync
from audit_assets.ingest.windows import Request
from audit_assets.simulate.server_process import free_port
from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.duckdb_keeper import DuckDBKeeper
from audit_assets.warehouse.snapshot import publish, read_manifest
from audit_assets_tests.defs.test_checks import judged
from audit_assets_tests.homes import Home

pytestmark = pytest.mark.requirement("R35")

ALWAYS_OPEN = """\
timezone: UTC
days: [mon, tue, wed, thu, fri, sat, sun]
opens: "00:00"
closes: "24:00"
holidays: []
"""


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: DagsterInstance, cursor: datetime | None = None) -> Any:
    from audit_assets.defs.resources import Surroundings
    from audit_assets.defs.schedules import audit_judge_sensor

    last = cursor.isoformat() if cursor else None
    with build_sensor_context(instance=instance, cursor=last, resources={"surroundings": Surroundings()}) as context:
        return audit_judge_sensor(context)


def synced_ago(home: Home, minutes: float) -> None:
    """Makes the last success of the home's sync as old as that, in the warehouse and in what is published."""
    settings, now = home.settings(), datetime.now(UTC)
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        connection.execute(
            "update analytics.ai_audit_sync_state set last_synced_at = ? where last_synced_at is not null",
            [now - timedelta(minutes=minutes)],
        )
        publish(DuckDBKeeper(connection), settings.snapshot_folder, now)


def test_while_batches_come_nobody_else_judges(home: Home, instance: DagsterInstance):
    synced_ago(home, 2)
    assert isinstance(tick(instance), SkipReason)


def test_where_no_batch_has_come_for_its_time_the_rules_are_asked_alone(home: Home, instance: DagsterInstance):
    synced_ago(home, 3)
    result = tick(instance)
    assert isinstance(result, SensorResult)
    assert len(result.run_requests or []) == 1
    assert result.cursor is not None
    assert isinstance(tick(instance, datetime.fromisoformat(result.cursor)), SkipReason)


def test_a_judging_that_runs_is_waited_for(home: Home, instance: DagsterInstance):
    synced_ago(home, 3)
    create_run_for_test(instance, job_name="audit_judge", status=DagsterRunStatus.STARTING)
    assert isinstance(tick(instance), SkipReason)


def test_without_anything_published_there_is_nothing_to_judge(empty_home: Home, instance: DagsterInstance):
    assert tick(instance).skip_message == "nothing has been published yet, so there is nothing to judge"


def test_stale_data_fail_the_check_in_business_hours_and_make_the_others_not_ready(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calendar = tmp_path / "calendar.yaml"
    calendar.write_text(ALWAYS_OPEN)
    monkeypatch.setenv("AI_AUDIT_CALENDAR", str(calendar))
    synced_ago(home, 4)
    assert judged()["freshness_slo"].passed
    synced_ago(home, 6)
    checks = judged()
    assert not checks["freshness_slo"].passed
    assert checks["freshness_slo"].description.startswith("the sync: 6 min since")
    assert checks["error_surge"].passed
    assert checks["error_surge"].description.startswith("not ready while freshness_slo fires")
    calendar.write_text(
        ALWAYS_OPEN.replace("holidays: []", f"holidays: [{{date: {datetime.now(UTC).date()}, name: x}}]")
    )
    assert judged()["freshness_slo"].passed


def test_failures_that_never_came_to_publishing_are_seen_all_the_same(home: Home):
    settings = home.settings()
    warehouse = DuckDBWarehouse(settings.duckdb_path, settings.lock_path)
    synced_ago(home, 2)
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/app"
    for _ in range(3):
        with pytest.raises(SourceError):
            sync(nowhere, warehouse, SyncPolicy(), Request("delta"))
    with warehouse.connection("a test") as connection:
        publish(DuckDBKeeper(connection), settings.snapshot_folder, datetime.now(UTC) - timedelta(minutes=5), only=())
    before = read_manifest(settings.snapshot_folder)
    check = judged()["sync_failed"]
    assert (check.passed, check.description.split(",")[0]) == (False, "the sync: 3 syncs failed in a row")
    after = read_manifest(settings.snapshot_folder)
    assert before is not None
    assert after is not None
    changed = {name for name in after.files if after.files[name] != before.files[name]}
    assert changed == {"ai_audit_sync_state"}
