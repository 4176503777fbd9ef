"""Keeps the files of the home folder readable by their owner only."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

_OWNER_ONLY = 0o077
_MARK = "private"  # marks a home whose existing files were restricted

_users_umask: int | None = None


def restrict_new_files() -> None:
    """Makes every file that this process and its children create from now on readable by its owner only."""
    global _users_umask
    umask = os.umask(_OWNER_ONLY)
    if _users_umask is None:
        _users_umask = umask


@contextmanager
def users_umask() -> Generator[None]:
    """Restores the umask of the caller's shell while the block runs, for files that the user asked for by name."""
    if _users_umask is None:
        yield
        return
    previous = os.umask(_users_umask)
    try:
        yield
    finally:
        os.umask(previous)


def restrict_existing(home: Path, beside: Sequence[Path] = ()) -> int:
    """Removes the group's and others' permissions from the files of `home` and from `beside`.

    Returns the number of files changed. It runs once per home, so files that are shared on purpose later stay shared.
    Links are not followed. Files of other users, and a home of another user, are left unchanged. Raises OSError if the
    file system is read-only.
    """
    mark = home / _MARK
    if not home.is_dir() or home.stat().st_uid != os.geteuid() or mark.exists():
        return 0
    found = [home, *(path for path in beside if path.exists())]
    for folder, folders, files in os.walk(home):
        found += [Path(folder) / name for name in (*folders, *files)]
    changed = sum(map(_restrict, found))
    mark.touch(mode=0o600)
    return changed


def _restrict(path: Path) -> bool:
    try:
        status = path.lstat()
        if path.is_symlink() or not status.st_mode & _OWNER_ONLY or status.st_uid != os.geteuid():
            return False
        path.chmod(status.st_mode & 0o7700)
    except FileNotFoundError:  # a running server replaced it in the meantime
        return False
    return True
