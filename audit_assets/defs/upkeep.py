"""Hourly upkeep: deletes old micro-batch runs with their logs, old rows and replaced files, and frees disk space."""

import shutil
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import (
    AssetCheckKey,
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    In,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    RunsFilter,
    ScheduleDefinition,
    op,
)
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from sqlalchemy import and_, func, not_, or_, select

from audit_assets.alerting.ledger.store import delete_evaluations, in_batches
from audit_assets.clock import Clock
from audit_assets.defs.liveness import RETRIES, sweep_locks
from audit_assets.defs.project import Project
from audit_assets.defs.resources import AlertLedger, RunClock, WarehouseResource
from audit_assets.warehouse.snapshot import delete_orphans

_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.CANCELED]
_BATCH = 200
_KEEP_EVALUATIONS = timedelta(days=7)  # 20,000 rows per day; the events of episodes are kept forever


def _expired_run_ids(instance: DagsterInstance, before: datetime) -> Iterator[str]:
    """Ids of ended delta and judge-only runs that were created before `before` (UTC). Each has 323 KiB of events.
    Failed runs, repairs and backfills are kept."""
    while True:
        runs = instance.get_run_ids(
            RunsFilter(statuses=_ENDED, tags={"audit/mode": ["delta", "judge"]}, created_before=before), limit=_BATCH
        )
        yield from runs
        if len(runs) < _BATCH:
            return


def delete_leftovers(instance: DagsterInstance, run_ids: Sequence[str], watched: Collection[AssetCheckKey]) -> None:
    """Deletes what Dagster keeps of a deleted run: the evaluations of its checks, and on SQLite an emptied event file
    per run (0.5 MB each, 40 per hour). Keeps the newest evaluation of each check, and every failed evaluation of the
    checks that page, `watched`: the day it names stays failed until the check passes for that day."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    checks = AssetCheckExecutionsTable
    newest = select(func.max(checks.c.id)).group_by(checks.c.asset_key, checks.c.check_name).scalar_subquery()
    pages = checks.c.check_name.in_({key.name for key in watched})
    is_needed = or_(checks.c.id.in_(newest), and_(pages, checks.c.execution_status == "FAILED"))
    with storage.index_connection() as connection:
        for some in in_batches(run_ids):
            connection.execute(checks.delete().where(checks.c.run_id.in_(some), not_(is_needed)))
    if isinstance(storage, SqliteEventLogStorage):
        for run_id in run_ids:
            for ending in ("", "-wal", "-shm"):
                Path(storage.path_for_shard(run_id) + ending).unlink(missing_ok=True)


def _vacuum(instance: DagsterInstance) -> None:
    """Shrinks the SQLite index. SQLite keeps the pages of deleted rows, so the file would never get smaller."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        with closing(sqlite3.connect(storage.path_for_shard("index"), timeout=30)) as connection:
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")


def upkeep_job(project: Project, watched: Collection[AssetCheckKey]) -> JobDefinition:
    """The hourly upkeep. Evaluations of the checks `watched` that failed are kept."""
    settings, keep = project.settings, project.policy.upkeep

    @op(description="Deletes runs, events and captured logs of micro-batches past their retention.")
    def prune_runs(context: OpExecutionContext) -> None:
        # Dagster's records use the system clock.
        instance, before = context.instance, Clock()() - keep.keep_micro_batches
        pruned: list[str] = []
        for run_id in _expired_run_ids(instance, before):
            instance.delete_run(run_id)
            shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)
            pruned.append(run_id)
        delete_leftovers(instance, pruned, watched)
        _vacuum(instance)
        context.log.info(f"{len(pruned)} micro-batch runs from before {before:%Y-%m-%d %H:%M} UTC deleted")

    @op(
        ins={"after": In(Nothing)},
        description="Deletes state rows past their retention, frees pages, and deletes files of interrupted "
        "publishing.",
    )
    def tidy_warehouse(
        context: OpExecutionContext, clock: RunClock, warehouse: WarehouseResource, ledger: AlertLedger
    ) -> None:
        now = clock.now()
        with warehouse.open().maintenance("upkeep") as session:
            rows = session.prune_sync_state(now - keep.keep_sync_rows)
        with ledger.open() as opened, opened.transaction() as connection:
            evaluations = delete_evaluations(connection, now - _KEEP_EVALUATIONS)
        files = delete_orphans(settings.snapshot_folder, now) + sweep_locks(settings)
        context.log.info(
            f"{rows} rows of ai_audit_sync_state, {evaluations} evaluations and {files} orphaned files deleted"
        )

    @dg.job(
        description="Keeps disk usage constant with a run every half minute.", tags={"audit/mode": "upkeep", **RETRIES}
    )
    def upkeep() -> None:
        tidy_warehouse(after=prune_runs())

    return upkeep


def hourly_upkeep() -> ScheduleDefinition:
    """The schedule of the job `upkeep`."""
    return ScheduleDefinition(
        name="hourly_upkeep",
        job_name="upkeep",
        cron_schedule="35 * * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Hourly upkeep, at minute 35 to avoid the schedules on the hour.",
    )
