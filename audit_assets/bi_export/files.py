"""Generates the Looker and Metabase files, writes them, and compares them with the files on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audit_assets.bi_export.looker import model_files
from audit_assets.bi_export.looker_dashboards import dashboard_files
from audit_assets.bi_export.metabase import metabase_files
from audit_assets.dashboards.definition.model import Definition
from audit_assets.private_files import users_umask


@dataclass(frozen=True)
class FileDiff:
    """A file that differs from its generated content; `file` is relative to the dashboards' folder."""

    file: str
    kind: Literal["new", "changed", "deleted"]

    def __str__(self) -> str:
        detail = {"new": "is missing", "changed": "is out of date", "deleted": "is no longer generated"}[self.kind]
        return f"{self.file}: {detail}; run `audit dashboards generate`"


FOLDERS = ("looker", "metabase")


def generated_files(definition: Definition) -> dict[str, str]:
    """Path below the dashboards' folder → text."""
    looker = {**model_files(definition), **dashboard_files(definition)}
    return {
        **{f"looker/{path}": text for path, text in looker.items()},
        **{f"metabase/{path}": text for path, text in metabase_files(definition).items()},
    }


def diff_files(folder: Path, files: dict[str, str]) -> list[FileDiff]:
    """The differences between `folder` and `files`, ordered by file."""
    existing = {
        path.relative_to(folder).as_posix(): path
        for name in FOLDERS
        for path in (folder / name).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    changes = [FileDiff(file, "new") for file in files if file not in existing]
    changes += [FileDiff(file, "deleted") for file in existing if file not in files]
    changes += [
        FileDiff(file, "changed")
        for file, text in files.items()
        if file in existing and existing[file].read_bytes() != text.encode()
    ]
    return sorted(changes, key=lambda change: change.file)


def write(folder: Path, files: dict[str, str]) -> list[FileDiff]:
    """Writes `files` to `folder`, deletes other generated files, and returns the changes."""
    changes = diff_files(folder, files)
    for change in changes:
        path = folder / change.file
        if change.kind == "deleted":
            path.unlink()
            continue
        with users_umask():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[change.file].encode())
    return changes
