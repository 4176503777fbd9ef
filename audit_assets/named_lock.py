"""File locks that name their holder. The system releases a lock when the last process with its descriptor ends."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from audit_assets.config.json_values import is_object


class LockHeldError(Exception):
    """Another process holds the lock. `holder` is what it wrote into the file; None where it wrote nothing."""

    def __init__(self, path: Path, holder: Mapping[str, Any] | None) -> None:
        who = f"process {holder['pid']}" if holder else "another process"
        super().__init__(f"{path} is locked by {who}")
        self.holder = holder


def acquire_lock(
    path: Path, holder: Mapping[str, str], timeout_seconds: float = 0.0, poll_seconds: float = 0.02
) -> int:
    """The descriptor of the locked file at `path`, into which `holder` and the process's `pid` are written as JSON.

    The lock is released when the descriptor is closed, by this process and by each child that inherits it. Raises
    LockHeldError if the lock is not free within `timeout_seconds`, and OSError if the file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + timeout_seconds
        while not lock_descriptor(descriptor, blocking=False):
            if time.monotonic() >= deadline:
                raise LockHeldError(path, read_holder(path))
            time.sleep(poll_seconds)
        with suppress(OSError):  # on a full disk the lock still works, but without the holder's name
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), **holder}).encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_holder(path: Path) -> dict[str, Any] | None:
    """What the last holder wrote. None if the file does not exist, or is being written."""
    try:
        holder = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return holder if is_object(holder) and "pid" in holder else None


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock at `path`. A file that does not exist is not locked."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not lock_descriptor(descriptor, blocking=False)
    finally:
        os.close(descriptor)
