"""Detects dead runs, and defines which runs are retried. Each run holds a file lock that the operating system releases
when its process ends, however it ends.

Dagster's default launcher does not detect dead processes: a run whose process was killed stays STARTED forever, and a
sensor that waits for it would wait forever too.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus, RunRecord

from audit_assets.named_lock import acquire_lock, is_locked
from audit_assets.settings import Settings

# A starting run has no lock yet: its imports take a while on a busy machine.
STARTS_WITHIN = timedelta(minutes=5)

# Runs whose next occurrence is hours away are retried twice, from the step that failed. The work of earlier steps is
# committed in the warehouse, where later steps find it. A sync that succeeded is not repeated: it would read the source
# again, and might remove as many rows as the first time.
RETRIES = {"dagster/max_retries": "2", "dagster/retry_strategy": "FROM_FAILURE"}

_locks: dict[Path, int] = {}  # the descriptors stay open until the process ends


def _lock_file(settings: Settings, run_id: str) -> Path:
    return settings.dagster_home / "alive" / run_id


def hold_run_lock(settings: Settings, run_id: str) -> None:
    """Holds the run's lock for as long as this process lives."""
    path = _lock_file(settings, run_id)
    if path in _locks:
        return
    # It gets its name once it is locked: a sensor that sees it unlocked takes the run for dead.
    unnamed = settings.dagster_home / f"alive-{run_id}"
    _locks[path] = acquire_lock(unnamed, {"run_id": run_id})
    path.parent.mkdir(exist_ok=True)
    unnamed.rename(path)


def has_lock(settings: Settings, record: RunRecord) -> bool:
    """Whether the run has acquired its lock on this machine. It may have lost it since."""
    return _lock_file(settings, record.dagster_run.run_id).exists()


def is_dead(settings: Settings, record: RunRecord, now: datetime) -> bool:
    """Whether the run's process has ended. A queued run is not dead. A run that never reached its first step is dead
    five minutes after its creation. `now` is UTC."""
    run = record.dagster_run
    if run.status in (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED):
        return False
    path = _lock_file(settings, run.run_id)
    if not path.exists():
        return now - record.create_timestamp.replace(tzinfo=UTC) > STARTS_WITHIN
    return not is_locked(path)


def reap_dead_runs(
    instance: DagsterInstance, settings: Settings, records: Iterable[RunRecord], now: datetime
) -> list[RunRecord]:
    """Marks the dead runs among `records` as failed, with the reason. Returns the live ones."""
    living: list[RunRecord] = []
    for record in records:
        if is_dead(settings, record, now):
            instance.report_run_failed(
                record.dagster_run,
                "its process ended unexpectedly (killed, or the machine restarted); the next run completes its work",
            )
        else:
            living.append(record)
    return living


def sweep_locks(settings: Settings) -> int:
    """Deletes the lock files of runs that have ended. Returns their number."""
    folder = settings.dagster_home / "alive"
    free = [path for path in folder.glob("*") if not is_locked(path)] if folder.exists() else []
    for path in free:
        path.unlink(missing_ok=True)
    return len(free)
