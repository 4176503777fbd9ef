"""One writer at a time: a file lock beside the DuckDB file, which contains the holder's name."""

import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit_assets.named_lock import LockHeldError, acquire_lock
from audit_assets.warehouse.protocol import WarehouseError, WarehouseLockedError

_POLL_SECONDS = 0.02
_PAUSE_SECONDS = 3 * _POLL_SECONDS


@contextmanager
def exclusive(path: Path, purpose: str, timeout_seconds: float = 600.0) -> Generator[None]:
    """Holds the lock at `path` while the block runs. The system releases it if the process dies.

    Raises WarehouseLockedError, naming the holder, if the lock is not free within `timeout_seconds`, and WarehouseError
    if the lock file cannot be created.
    """
    holder = {"purpose": purpose, "since": datetime.now(UTC).isoformat("T", "seconds")}
    try:
        descriptor = acquire_lock(path, holder, timeout_seconds, _POLL_SECONDS)
    except LockHeldError as error:
        raise WarehouseLockedError(_locked_message(error.holder, timeout_seconds)) from None
    except OSError as error:
        raise WarehouseError(
            f"the lock {path} cannot be created: {error.strerror}; fix that, or set AI_AUDIT_DUCKDB_PATH to "
            "another path"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def yield_lock() -> None:
    """Pauses with the lock released, so that a waiting process can take it."""
    time.sleep(_PAUSE_SECONDS)


def _locked_message(holder: Mapping[str, Any] | None, waited: float) -> str:
    who = "another process"
    if holder:
        who = f"process {holder['pid']} ({holder.get('purpose')}, since {holder.get('since')})"
    return f"the warehouse is held by {who}; waited {waited:.0f} s. Wait for it to end, or stop it, and run again"
