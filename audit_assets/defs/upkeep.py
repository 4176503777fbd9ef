"""Hourly upkeep, so that the hot loop leaves no trail: old runs and their logs, replaced files, free space."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
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
from dagster._core.storage.event_log import SqliteEventLogStorage

from audit_assets.defs.liveness import sweep_locks
from audit_assets.defs.partitions import POLICY
from audit_assets.defs.resources import Surroundings
from audit_assets.warehouse.snapshot import sweep
from audit_assets.warehouse.upkeep import tidy

_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.CANCELED]
_BATCH = 200


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


def _delete_event_files(instance: DagsterInstance, run_id: str) -> None:
    """The SQLite storage keeps a file of events a run, and empties it where the run is deleted: 0.5 MB each, 40 an
    hour."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for ending in ("", "-wal", "-shm"):
            Path(storage.path_for_shard(run_id) + ending).unlink(missing_ok=True)


@op(description="Deletes the runs, events and captured logs of micro-batches beyond their hours.")
def prune_runs(context: OpExecutionContext) -> None:
    instance, before = context.instance, datetime.now(UTC) - POLICY.upkeep.keep_micro_batches
    pruned = 0
    for run_id in _outlived(instance, before):
        instance.delete_run(run_id)
        shutil.rmtree(Path(instance.storage_directory()) / run_id, ignore_errors=True)
        _delete_event_files(instance, run_id)
        pruned += 1
    context.log.info(f"{pruned} micro-batch runs from before {before:%Y-%m-%d %H:%M} UTC deleted")


@op(
    ins={"after": In(Nothing)},
    description="Drops state rows beyond their days, gives free pages back, and sweeps files of killed publishings.",
)
def tidy_warehouse(context: OpExecutionContext, surroundings: Surroundings) -> None:
    settings, now = surroundings.settings(), datetime.now(UTC)
    with surroundings.warehouse().connection("upkeep") as connection:
        dropped = tidy(connection, now - POLICY.upkeep.keep_sync_rows)
    swept = sweep(settings.snapshot_folder, now) + sweep_locks(settings)
    context.log.info(f"{dropped} rows of ai_audit_sync_state dropped, {swept} orphaned files deleted")


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
