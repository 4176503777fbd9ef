"""Which runs are alive: each holds a lock that the system frees when its process dies, whatever killed it.

Dagster's default launcher asks nobody: a run whose process was killed stays STARTED for ever, and a sensor that waits
for it would wait for ever too.
"""

import fcntl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from dagster import DagsterInstance, DagsterRunStatus, RunRecord

from audit_assets.settings import Settings

# From its start to its first step a run has no lock yet: it imports, on a busy machine for a while.
STARTS_WITHIN = timedelta(minutes=5)

_held: dict[Path, IO[str]] = {}  # open until the process ends, however it ends


def _lock_file(settings: Settings, run_id: str) -> Path:
    return settings.dagster_home / "alive" / run_id


def mark_alive(settings: Settings, run_id: str) -> None:
    """Holds the run's lock for as long as this process lives; each step that may be a run's first asks for it."""
    path = _lock_file(settings, run_id)
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _held[path] = file


def is_dead(settings: Settings, record: RunRecord, now: datetime) -> bool:
    """Whether the run's process is gone. A run still in the queue is not dead; one that never came to its first step
    is, five minutes after it was created."""
    run = record.dagster_run
    if run.status in (DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED):
        return False
    path = _lock_file(settings, run.run_id)
    if not path.exists():
        return now - record.create_timestamp.replace(tzinfo=UTC) > STARTS_WITHIN
    return _is_free(path)


def bury(instance: DagsterInstance, settings: Settings, records: Iterable[RunRecord], now: datetime) -> list[RunRecord]:
    """Marks the dead among `records` failed, with the reason on record; returns the living."""
    living: list[RunRecord] = []
    for record in records:
        if is_dead(settings, record, now):
            instance.report_run_failed(
                record.dagster_run,
                "its process ended without a word (killed, or the machine restarted); the next run finishes its work",
            )
        else:
            living.append(record)
    return living


def sweep_locks(settings: Settings) -> int:
    """Deletes the locks of runs that have ended; how many."""
    folder = settings.dagster_home / "alive"
    free = [path for path in folder.glob("*") if _is_free(path)] if folder.exists() else []
    for path in free:
        path.unlink(missing_ok=True)
    return len(free)


def _is_free(path: Path) -> bool:
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
