"""One writer at a time: an flock beside the DuckDB file, with the holder's name in it for whoever waits."""

import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from audit_assets.warehouse.protocol import WarehouseError, WarehouseLockedError

_POLL_SECONDS = 0.02
_PAUSE_SECONDS = 3 * _POLL_SECONDS


@contextmanager
def exclusive(path: Path, purpose: str, timeout_seconds: float = 600.0) -> Generator[None]:
    """Holds the lock at `path` while the block runs. The system frees it if the process dies.

    Raises WarehouseLockedError, naming the holder, when it is not free within `timeout_seconds`, WarehouseError
    where there can be no lock at `path`.
    """
    descriptor = _opened(path)
    try:
        _acquire(descriptor, path, timeout_seconds)
        holder = {
            "pid": os.getpid(),
            "purpose": purpose,
            "since": datetime.now(UTC).isoformat("T", "seconds"),
        }
        with suppress(OSError):  # on a full disk the lock holds all the same, only namelessly
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def let_in() -> None:
    """A pause, with the lock released, in which whoever polls for it gets it."""
    time.sleep(_PAUSE_SECONDS)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise WarehouseError(
            f"the lock {path} cannot be made: {error.strerror}; mend that, or set AI_AUDIT_DUCKDB_PATH to another place"
        ) from error


def _acquire(descriptor: int, path: Path, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise WarehouseLockedError(_told(path, timeout_seconds)) from None
            time.sleep(_POLL_SECONDS)


def _told(path: Path, waited: float) -> str:
    try:
        holder = json.loads(path.read_text())
        who = f"process {holder['pid']} ({holder['purpose']}, since {holder['since']})"
    except (OSError, ValueError, KeyError):
        who = "another process"
    return f"the warehouse is held by {who}; waited {waited:.0f} s. Wait for it to end, or stop it, and run again"
