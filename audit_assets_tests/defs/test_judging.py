"""Judging while the sync is down: which sensor requests it, and what the rules see."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, SensorResult, SkipReason

from audit_assets.alerting.inputs import live_facts
from audit_assets.clock import Clock
from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.query.reader import SnapshotReader
from audit_assets.dashboards.query.scope import Scope
from audit_assets.dashboards.query.sql import tile_query
from audit_assets.demo.server_process import free_port
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source_connection import SourceError
from audit_assets.ingest.sync import sync
from audit_assets.ingest.windows import Request
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.attempts import track_attempt
from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import WarehouseLockedError
from audit_assets.warehouse.snapshot import publish, read_manifest
from audit_assets_tests.defs.recording import create_run_for_test
from audit_assets_tests.defs.test_checks import judged
from audit_assets_tests.environments import NOW, Home, tick_sensor

pytestmark = pytest.mark.requirement("R35")

FOLDER = PROJECT_ROOT / "observability/dashboards/ai-audit"

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
    return tick_sensor("audit_judge_sensor", instance, cursor)


def synced_ago(home: Home, minutes: float, now: datetime = NOW) -> None:
    """Sets the last success of the home's sync `minutes` before `now` (UTC), in the warehouse and in the snapshot."""
    settings = home.settings()
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        connection.execute(
            "update analytics.ai_audit_sync_state set last_synced_at = ? where last_synced_at is not null",
            [now - timedelta(minutes=minutes)],
        )
        publish(DuckDBMaintenance(connection), settings.snapshot_folder, now)


def test_no_judging_run_is_requested_while_batches_succeed(home: Home, instance: DagsterInstance):
    synced_ago(home, 2)
    assert isinstance(tick(instance), SkipReason)


def test_an_overdue_batch_requests_a_run_of_the_rules_alone(home: Home, instance: DagsterInstance):
    synced_ago(home, 3)
    result = tick(instance)
    assert isinstance(result, SensorResult)
    assert len(result.run_requests or []) == 1
    assert result.cursor is not None
    assert isinstance(tick(instance, datetime.fromisoformat(result.cursor)), SkipReason)


def test_no_second_judging_run_is_requested_while_one_runs(home: Home, instance: DagsterInstance):
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
    calendar.write_text(ALWAYS_OPEN.replace("holidays: []", f"holidays: [{{date: {NOW.date()}, name: x}}]"))
    assert judged()["freshness_slo"].passed


def test_failures_that_never_came_to_publishing_are_seen_all_the_same(home: Home):
    settings = home.settings()
    warehouse = DuckDBWarehouse(settings.duckdb_path, settings.lock_path)
    later = NOW + timedelta(minutes=5)
    synced_ago(home, 2, later)
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/app"
    for _ in range(3):
        with pytest.raises(SourceError):
            sync(nowhere, warehouse, SyncPolicy(), Request("delta"), now=Clock(later))
    with warehouse.connection("a test") as connection:
        publish(DuckDBMaintenance(connection), settings.snapshot_folder, NOW, only=())
    before = read_manifest(settings.snapshot_folder)
    check = judged(later)["sync_failed"]
    assert (check.passed, check.description.split(",")[0]) == (False, "the sync: 3 syncs failed in a row")
    after = read_manifest(settings.snapshot_folder)
    assert before is not None
    assert after is not None
    changed = {name for name in after.files if after.files[name] != before.files[name]}
    assert changed == {"ai_audit_sync_state"}


def test_repairs_that_find_the_warehouse_locked_are_counted_although_deltas_succeed(home: Home):
    settings, later = home.settings(), NOW + timedelta(minutes=5)
    synced_ago(home, 1, later)
    warehouse = DuckDBWarehouse(settings.duckdb_path, settings.lock_path)
    impatient = DuckDBWarehouse(settings.duckdb_path, settings.lock_path, timeout_seconds=0.1)
    assert home.source_url is not None
    with warehouse.exclusive("a backup"):
        for _ in range(3):
            with pytest.raises(WarehouseLockedError), track_attempt(settings.attempts_folder, "full", later) as attempt:
                sync(home.source_url, impatient, SyncPolicy(), Request("full"), now=Clock(later), attempt=attempt)
        check = judged(later)["sync_failed"]
    assert (check.passed, check.description.split(",")[0]) == (False, "the sync: 3 syncs failed in a row")
    assert str(check.metadata["last_error"].value).startswith("full: the warehouse is held by process")
    assert "a backup" in str(check.metadata["last_error"].value)


@pytest.mark.requirement("R15")
def test_data_are_as_old_as_what_was_built_however_often_the_sync_succeeds_after_it(home: Home):
    settings = home.settings()
    before, lookback = read_manifest(settings.snapshot_folder), SyncPolicy().lookback
    assert before is not None
    assert before.last_synced_at is not None
    known = live_facts(settings, lookback, NOW).as_of
    later = NOW + timedelta(hours=1)
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        columns = connection.execute("describe analytics.ai_audit_daily").fetchall()
        listed = ", ".join(f"{name} {kind}" for name, kind, *_ in columns)
        connection.execute(
            f"create or replace table analytics.ai_audit_daily ({listed}, check (interaction_count < 0))"
        )
    home.insert(100, later - timedelta(minutes=1))
    outcome = replace(home, now=later).build(later.date())
    assert not outcome.succeeded
    assert "ai_audit_daily" in (outcome.failure or "")
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).maintenance("a test") as maintenance:
        publish(maintenance, settings.snapshot_folder, later, only=("ai_audit_sync_state",))
    after = read_manifest(settings.snapshot_folder)
    assert after is not None
    assert after.last_synced_at == before.last_synced_at, "no published table has the newer sync's rows"
    facts = live_facts(settings, lookback, later)
    assert facts.as_of == known
    ((minutes,),) = facts.tables["ai_audit_sync_state"].select("minutes_since_sync").rows()
    assert minutes == 60
    shown = SnapshotReader(settings.snapshot_folder).freshness()
    assert shown is not None
    assert (shown.last_synced_at, shown.published_at) == (before.last_synced_at, before.facts_published_at)
    asked = load_definition(FOLDER)
    tile = next(tile for page in asked.pages for tile in page.tiles if tile.id == "T22")
    scope = Scope(later.date(), later.date(), later)
    rows = SnapshotReader(settings.snapshot_folder).read(tile_query(tile, asked.source(tile.source), scope))
    assert rows["newest"].item() == before.last_synced_at
