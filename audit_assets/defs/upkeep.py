"""Hourly upkeep, so that the hot loop leaves no trail: old runs and their logs, replaced files, free space."""

import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    In,
    Nothing,
    OpExecutionContext,
    RunsFilter,
    ScheduleEvaluationContext,
    job,
    op,
    schedule,
)
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from sqlalchemy import func, select

from audit_assets.alerting.record import forget_evaluations
from audit_assets.defs.liveness import sweep_locks
from audit_assets.defs.partitions import POLICY
from audit_assets.defs.resources import Surroundings
from audit_assets.warehouse.snapshot import sweep

_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.CANCELED]
_BATCH = 200
_KEEP_EVALUATIONS = timedelta(days=7)  # 20,000 rows a day; what happened to episodes is kept for ever


def _outlived(instance: DagsterInstance, before: datetime) -> Iterator[str]:
    """Ids of ended delta and judge-only runs created before `before`. Each leaves 323 KiB of events; failed ones,
    repairs and backfills are kept."""
    while True:
        runs = instance.get_run_ids(
            RunsFilter(statuses=_ENDED, tags={"audit/mode": ["delta", "judge"]}, created_before=before), limit=_BATCH
        )
        yield from runs
        if len(runs) < _BATCH:
            return


def _forget(instance: DagsterInstance, run_ids: Collection[str]) -> None:
    """What deleting a run leaves behind: the evaluations of its checks, of which the newest of each check stays, and on
    SQLite a file of events a run, emptied, 0.5 MB each, 40 an hour."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    checks = AssetCheckExecutionsTable
    newest = select(func.max(checks.c.id)).group_by(checks.c.asset_key, checks.c.check_name).scalar_subquery()
    with storage.index_connection() as connection:
        connection.execute(checks.delete().where(checks.c.run_id.in_(run_ids), checks.c.id.not_in(newest)))
    if isinstance(storage, SqliteEventLogStorage):
        for run_id in run_ids:
            for ending in ("", "-wal", "-shm"):
                Path(storage.path_for_shard(run_id) + ending).unlink(missing_ok=True)


def _give_space_back(instance: DagsterInstance) -> None:
    """SQLite keeps the pages of what was deleted: the file stays as large as it was at the end of the busiest hour."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        with closing(sqlite3.connect(storage.path_for_shard("index"), timeout=30)) as connection:
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")


@op(description="Deletes the runs, events and captured logs of micro-batches beyond their hours.")
def prune_runs(context: OpExecutionContext) -> None:
    instance, before = context.instance, datetime.now(UTC) - POLICY.upkeep.keep_micro_batches
    pruned: list[str] = []
    for run_id in _outlived(instance, before):
        instance.delete_run(run_id)
        shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)
        pruned.append(run_id)
    _forget(instance, pruned)
    _give_space_back(instance)
    context.log.info(f"{len(pruned)} micro-batch runs from before {before:%Y-%m-%d %H:%M} UTC deleted")


@op(
    ins={"after": In(Nothing)},
    description="Drops state rows beyond their days, gives free pages back, and sweeps files of killed publishings.",
)
def tidy_warehouse(context: OpExecutionContext, surroundings: Surroundings) -> None:
    settings, now = surroundings.settings(), datetime.now(UTC)
    with surroundings.warehouse().keeper("upkeep") as keeper:
        dropped = keeper.tidy(now - POLICY.upkeep.keep_sync_rows)
    with surroundings.ledger() as ledger, ledger.transaction() as connection:
        forgotten = forget_evaluations(connection, now - _KEEP_EVALUATIONS)
    swept = sweep(settings.snapshot_folder, now) + sweep_locks(settings)
    context.log.info(
        f"{dropped} rows of ai_audit_sync_state and {forgotten} evaluations dropped, {swept} orphaned files deleted"
    )


@job(description="Keeps the disk flat under a run every half minute.", tags={"audit/mode": "upkeep"})
def upkeep() -> None:
    tidy_warehouse(after=prune_runs())


@schedule(
    job=upkeep,
    cron_schedule="35 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Upkeep, away from the full hour.",
)
def hourly_upkeep(_: ScheduleEvaluationContext) -> dict[str, object]:
    return {}
