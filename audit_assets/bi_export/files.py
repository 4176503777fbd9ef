"""Generates the Looker and Metabase files, writes them, and compares them with the files on disk. Runs the queries of
tiles on empty tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb

from audit_assets.bi_export.looker import model_files
from audit_assets.bi_export.looker_dashboards import dashboard_files
from audit_assets.bi_export.mart_types import empty_warehouse, known_tables
from audit_assets.bi_export.metabase import metabase_files
from audit_assets.config.validation import Problem
from audit_assets.dashboards.definition.model import Definition
from audit_assets.dashboards.query.scope import Scope
from audit_assets.dashboards.query.sql import tile_query
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
_NOW = datetime(2026, 11, 28, tzinfo=UTC)  # arbitrary: the tables are empty


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


def drift_problems(folder: Path, files: dict[str, str]) -> list[Problem]:
    """The same differences as problems."""
    return [Problem(change.file, 1, "", str(change).split(": ", 1)[1]) for change in diff_files(folder, files)]


def tile_problems(definition: Definition) -> Iterator[Problem]:
    """The tiles whose query names a column or table that does not exist, or does not fit their types."""
    with empty_warehouse(known_tables(), "tiles") as connection:
        for page, tile in definition.tiles:
            query = tile_query(tile, definition.source(tile.source), Scope(_NOW.date(), _NOW.date(), _NOW))
            try:
                connection.execute(query.sql, {name: list(values) for name, values in query.parameters.items()})
            except duckdb.Error as error:
                reason = str(error).splitlines()[0]
                yield Problem(f"vizro/{page.page}.yaml", 1, tile.id, f"its query of {tile.source} fails: {reason}")


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
