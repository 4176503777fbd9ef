"""Attempts of the sync: one file per sync in the home, so that a sync that was killed, or could not write to the
warehouse, still counts as failed."""

import fcntl
import os
import re
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from audit_assets.warehouse.protocol import Mode, SyncRun, WarehouseWriter

KILLED = (
    "the process ended before the sync did: killed, out of memory, or the machine restarted. What it committed stays;"
    " the next sync of this mode reads the rest"
)

_TIME = "%Y%m%dT%H%M%S%f"
_NAME = re.compile(r"(?P<started>\d{8}T\d{12})_(?P<mode>delta|full|days)_(?P<sync_id>[0-9a-f-]{36})")
_LONGEST_ERROR = 2000


@dataclass(frozen=True)
class FailedAttempt:
    """A sync that ended without a record in the warehouse. `started_at` is UTC."""

    sync_id: str
    mode: Mode
    started_at: datetime
    error: str
    path: Path

    def run(self) -> SyncRun:
        """Its row of ai_audit_sync_state, with the columns that are known."""
        return SyncRun(
            sync_id=self.sync_id, mode=self.mode, status="failed", window_start=None, window_end=None,
            started_at=self.started_at, last_synced_at=None, sync_duration_ms=0, error=self.error,
        )  # fmt: skip


class Attempt:
    """A running sync. While its process lives, its file is locked and does not count as a failure."""

    def __init__(self, folder: Path, mode: Mode, started_at: datetime) -> None:
        self.folder, self.sync_id = folder, str(uuid.uuid4())
        self.is_recorded = False
        self.problem: str | None = None
        self._path = folder / f"{started_at.astimezone(UTC):{_TIME}}_{mode}_{self.sync_id}"
        self._descriptor: int | None = None
        self._error: BaseException | None = None
        # Mode, time and id are in the name: on a full disk a file can be created but not written to.
        draft = self._path.with_suffix(".draft")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            draft.rename(self._path)  # only with the lock held: a file without a lock counts as a failure
        except OSError as error:
            self.problem = (
                f"{folder} cannot be written ({error.strerror}): if this sync is killed, it is not counted as"
                " failed; free space there, or set AI_AUDIT_HOME to another path"
            )

    def fail(self, error: BaseException) -> None:
        """Writes the error to the file."""
        if self._descriptor is None or self._error is error:
            return
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, describe(error).encode(), 0)
        except OSError as failure:
            error.add_note(f"the cause could not be written to {self._path}: {failure.strerror}")
        self._error = error

    def record_earlier_failures(self, writer: WarehouseWriter) -> None:
        """Records earlier attempts that failed without a record."""
        for attempt in failed_attempts(self.folder):
            writer.record_failed(attempt.run())
            attempt.path.unlink(missing_ok=True)

    def end(self, failed: bool) -> None:
        """Releases the file, and deletes it unless it is the only trace of a failure."""
        if self._descriptor is None:
            return
        if not failed or self.is_recorded:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None


@contextmanager
def track_attempt(folder: Path, mode: Mode, now: datetime) -> Generator[Attempt]:
    """An attempt that starts at `now` (UTC) and ends with the block. If the block raises and the failure is not
    recorded in the warehouse, its file stays in `folder` and `failed_attempts` returns it."""
    attempt = Attempt(folder, mode, now)
    try:
        yield attempt
    except BaseException as error:
        attempt.fail(error)
        attempt.end(failed=True)
        raise
    attempt.end(failed=False)


def failed_attempts(folder: Path) -> tuple[FailedAttempt, ...]:
    """The attempts in `folder` that ended without a record in the warehouse, ordered by start. Attempts of running
    processes are left out."""
    found: list[FailedAttempt] = []
    for path in sorted(folder.glob("*")):
        name = _NAME.fullmatch(path.name)
        error = _error_of(path) if name else None
        if name and error is not None:
            started_at = datetime.strptime(name["started"], _TIME).replace(tzinfo=UTC)
            found.append(FailedAttempt(name["sync_id"], cast(Mode, name["mode"]), started_at, error, path))
    return tuple(found)


def _error_of(path: Path) -> str | None:
    """The error in the file, KILLED if it is empty; None if the process lives or the file was deleted."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return file.read(_LONGEST_ERROR).decode(errors="replace") or KILLED
    except (BlockingIOError, FileNotFoundError):
        return None


def describe(error: BaseException) -> str:
    """`error` in one line, for a table with many readers. Messages of this project and of the system are shown; of
    other errors only the type, since their messages may quote rows or addresses."""
    kind = type(error)
    if kind.__module__.startswith("audit_assets."):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "out of memory: give this machine more, or lower AI_AUDIT_DUCKDB_MEMORY"
    elif isinstance(error, OSError):
        text = f"{error.strerror or kind.__name__}" + (f": {error.filename}" if error.filename else "")
    elif not isinstance(error, Exception):
        text = f"interrupted ({kind.__name__}); run it again"
    else:
        text = f"{kind.__name__}: an error in the sync itself; see the run's log"
    return " ".join(text.split())[:_LONGEST_ERROR]
