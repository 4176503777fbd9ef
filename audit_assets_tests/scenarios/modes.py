"""Permissions of the files of a home."""

import stat
from pathlib import Path


def open_to_others(folder: Path) -> list[str]:
    """The files and folders with any permission for group or others, with their modes."""
    found = [folder, *folder.rglob("*")]
    modes = [(path, stat.S_IMODE(path.lstat().st_mode)) for path in found if not path.is_symlink()]
    return [f"{path} {mode:o}" for path, mode in modes if mode & 0o077]
