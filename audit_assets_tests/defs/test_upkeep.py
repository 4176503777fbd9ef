"""Upkeep: micro-batches leave no data behind; failed runs, repairs and backfills are kept."""

from datetime import timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter, build_op_context
from sqlalchemy import create_engine, text

from audit_assets.defs.runner import prepare_instance
from audit_assets.warehouse.duckdb.maintenance import DuckDBMaintenance
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.defs.recording import create_run_for_test
from audit_assets_tests.environments import NOW, Home, definitions


def prune_runs(instance: DagsterInstance) -> None:
    """Runs the step of the upkeep that deletes runs."""
    with build_op_context(instance=instance) as context:
        definitions().resolve_job_def("upkeep").graph.node_named("prune_runs").definition(context)


def test_only_old_micro_batches_that_went_well_are_pruned(empty_home: Home):
    prepare_instance(empty_home.settings())
    ended, failed = DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE
    with DagsterInstance.get() as instance:
        runs = {
            name: create_run_for_test(instance, job_name="audit_sync", status=status, tags={"audit/mode": mode}).run_id
            for name, mode, status in (
                ("an old micro-batch", "delta", ended),
                ("a new micro-batch", "delta", ended),
                ("a failed micro-batch", "delta", failed),
                ("a running micro-batch", "delta", DagsterRunStatus.STARTED),
                ("a repair", "full", ended),
                ("a backfill", "days", ended),
            )
        }
        logs = Path(instance.storage_directory()) / runs["an old micro-batch"] / "compute_logs"
        logs.mkdir(parents=True)
        for run_id in runs.values():
            instance.report_engine_event("a line of its own", run_id=run_id, job_name="audit_sync")
        _age(empty_home, set(runs.values()) - {runs["a new micro-batch"]})
        prune_runs(instance)
        left = {name for name, run_id in runs.items() if instance.get_run_by_id(run_id)}
    assert left == set(runs) - {"an old micro-batch"}
    assert not logs.parent.exists()
    shards = {path.stem for path in (empty_home.folder / "dagster/history/runs").glob("*.db")} - {"index"}
    assert shards == set(runs.values()) - {runs["an old micro-batch"]}


def test_of_the_checks_of_pruned_runs_the_newest_stay_and_the_file_shrinks(home: Home):
    for _ in range(3):
        assert home.build().succeeded
    index = home.folder / "dagster/history/runs/index.db"
    before, executions = index.stat().st_size, _executions(home)
    with DagsterInstance.get() as instance:
        batches = instance.get_run_ids(RunsFilter(tags={"audit/mode": "delta"}))
        _age(home, set(batches))
        prune_runs(instance)
    after = _executions(home)
    assert len(batches) >= 3
    assert {run_id for _, run_id in after} & set(batches) == {batches[0]}, (
        "the newest of each check is what the UI shows"
    )
    assert {check for check, _ in after} == {check for check, _ in executions}
    assert index.stat().st_size < before - 500_000


def _executions(home: Home) -> list[tuple[str, str]]:
    engine = create_engine(f"sqlite:///{home.folder}/dagster/history/runs/index.db")
    with engine.begin() as connection:
        found = connection.execute(text("select asset_key || check_name, run_id from asset_check_executions")).all()
    engine.dispose()
    return [(row[0], row[1]) for row in found]


def _age(home: Home, run_ids: set[str]) -> None:
    """Makes the runs a day old, directly in the storage."""
    engine = create_engine(f"sqlite:///{home.folder}/dagster/history/runs.db")
    with engine.begin() as connection:
        for run_id in run_ids:
            connection.execute(
                text("update runs set create_timestamp = datetime(create_timestamp, '-1 day') where run_id = :id"),
                {"id": run_id},
            )
    engine.dispose()


@pytest.mark.requirement("R14")
def test_any_number_of_runs_is_forgotten_whatever_a_statement_may_hold(tmp_path: Path):
    from audit_assets.defs.upkeep import delete_leftovers

    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        delete_leftovers(instance, [f"run {number}" for number in range(40_000)], watched=())


def test_state_rows_of_old_deltas_go_and_repairs_failures_and_the_newest_stay(empty_home: Home):
    settings = empty_home.settings()
    rows = (
        ("old delta", "delta", "succeeded", 40),
        ("old failure", "delta", "failed", 40),
        ("old repair", "full", "succeeded", 40),
        ("new delta", "delta", "succeeded", 1),
    )
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        for sync_id, mode, status, days in rows:
            connection.execute(
                "insert into analytics.ai_audit_sync_state (sync_id, mode, status, started_at) values (?, ?, ?, ?)",
                [sync_id, mode, status, NOW - timedelta(days=days)],
            )
        assert DuckDBMaintenance(connection).prune_sync_state(NOW - timedelta(days=30)) == 1
        assert DuckDBMaintenance(connection).prune_sync_state(NOW + timedelta(days=1)) == 0
        left = connection.execute("select sync_id from analytics.ai_audit_sync_state order by sync_id").fetchall()
    assert [name for (name,) in left] == ["new delta", "old failure", "old repair"]


def test_the_upkeep_job_runs_whole(home: Home):
    prepare_instance(home.settings())
    orphan = home.folder / "published/ai_audit_logs/orphan.parquet"
    orphan.write_bytes(b"half")
    import os

    os.utime(orphan, (0, 0))
    with DagsterInstance.get() as instance:
        assert definitions().resolve_job_def("upkeep").execute_in_process(instance=instance).success
    assert not orphan.exists()
