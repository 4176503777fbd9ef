"""Copies of a published snapshot with one modified table."""

from collections.abc import Mapping
from pathlib import Path

import duckdb

from audit_assets.warehouse.snapshot import Manifest, SnapshotFile, read_manifest

# A double, because a decimal would be truncated when shown as a count.
ONE_PER_CENT = "cast(1.01 as double)"


def altered(snapshot: Path, folder: Path, table: str, column: str, to: str, where: str = "true") -> Path:
    """Writes a snapshot to `folder` in which `column` of `table` is `to` (SQL). Files of other tables are shared."""
    manifest = _manifest(snapshot)
    changed = f"case when {where} then {to} else {column} end as {column}"
    views, files = (
        dict(manifest.views),
        {name: _shared(snapshot, table_files) for name, table_files in manifest.files.items()},
    )
    if table in views:
        body = views[table].split(" AS ", 1)[1].rstrip("; \n")
        views[table] = f"create view analytics.{table} as select * replace ({changed}) from ({body})"
    else:
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            files[table] = tuple(
                file.model_copy(update={"path": _copied(connection, file, folder / table, changed)})
                for file in files[table]
            )
    return _written(folder, manifest, files, views, f"{table}.{column}")


def with_tables(snapshot: Path, folder: Path, tables: Mapping[str, str]) -> Path:
    """Writes a snapshot to `folder` with additional tables; `tables` maps a table name to a query.

    A table that is already published stays unchanged.
    """
    manifest = _manifest(snapshot)
    files = {name: _shared(snapshot, table_files) for name, table_files in manifest.files.items()}
    columns = dict(manifest.columns)
    for table, query in tables.items():
        if table in files:
            continue
        path = folder / table / "whole.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.execute(f"copy ({query}) to '{path}' (format parquet)")
            described = connection.execute(f"describe select * from '{path}'").fetchall()
        columns[table] = {name: kind for name, kind, *_ in described}
        files[table] = (SnapshotFile(path=str(path), day=None, rows=0, version=""),)
    return _written(folder, manifest.model_copy(update={"columns": columns}), files, manifest.views, "more")


def _copied(connection: duckdb.DuckDBPyConnection, file: SnapshotFile, folder: Path, changed: str) -> str:
    """Writes a modified copy of the file and returns its path. The name of its folder contains its day."""
    path = folder / f"date={file.day}" / "day.parquet" if file.day else folder / "whole.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(
        f"copy (select * replace ({changed}) from read_parquet('{file.path}', hive_partitioning = false))"
        f" to '{path}' (format parquet)"
    )
    return str(path)


def _manifest(snapshot: Path) -> Manifest:
    manifest = read_manifest(snapshot)
    assert manifest is not None
    return manifest


def _shared(snapshot: Path, snapshot_files: tuple[SnapshotFile, ...]) -> tuple[SnapshotFile, ...]:
    return tuple(file.model_copy(update={"path": str((snapshot / file.path).resolve())}) for file in snapshot_files)


def _written(
    folder: Path,
    manifest: Manifest,
    files: Mapping[str, tuple[SnapshotFile, ...]],
    views: Mapping[str, str],
    name: str,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made = manifest.model_copy(update={"snapshot_id": f"{manifest.snapshot_id} {name}", "files": files, "views": views})
    (folder / "manifest.json").write_text(made.model_dump_json())
    return folder
