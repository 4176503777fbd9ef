"""The lock of a home: only one process serves it, and errors of others name that process."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

from audit_assets.named_lock import LockHeldError, acquire_lock, is_locked

_ENDS_WITHIN_S = 20.0  # the guard of a killed `audit dev` ends its children within this time and holds the lock


class HomeServedError(Exception):
    """Another process serves this home. The message names the process."""


@contextmanager
def serving_lock(home: Path, command: str) -> Generator[int]:
    """Locks the home for `command` and yields the descriptor. Children that inherit it hold the lock too, until they
    end.

    Raises HomeServedError with the command and process id of the holder.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _acquire(home, command)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_served(home: Path) -> bool:
    """Whether a process holds the home's lock."""
    return is_locked(home / "serving.lock")


def _acquire(home: Path, command: str) -> int:
    path = home / "serving.lock"
    for timeout_s in (0.0, _ENDS_WITHIN_S):
        try:
            return acquire_lock(path, {"command": command}, timeout_s, poll_seconds=0.2)
        except LockHeldError as error:
            if error.holder is not None and _is_alive(error.holder["pid"]):
                raise HomeServedError(
                    f"{home} is already served by `{error.holder['command']}`, process {error.holder['pid']}: "
                    "stop that process, or set AI_AUDIT_HOME to another folder"
                ) from None
    raise HomeServedError(f"children of a killed process still run in {home}; {path} is locked")


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
