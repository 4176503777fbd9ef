"""The published tables in memory: a new snapshot brings only the files that changed since the one before."""

from collections.abc import Collection
from pathlib import Path

import duckdb

from audit_assets.warehouse.raw import in_one_commit
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import PER_DAY, Manifest, SnapshotFile


class Marts:
    """An in-memory DuckDB (time zone UTC) with some of the published tables, as of one manifest at a time.

    Reading ninety files a tile costs ten times what the tile's arithmetic does.
    """

    def __init__(self, folder: Path, tables: Collection[str]) -> None:
        self._folder, self._tables = folder, tables
        self._held: Manifest | None = None
        self.connection = duckdb.connect(config={"threads": 2})
        self.connection.execute(f"set TimeZone = 'UTC'; create schema {SCHEMA}")

    def follow(self, manifest: Manifest) -> None:
        """Brings the tables up to `manifest`, all or none. Raises duckdb.Error."""
        before = self._held
        if before is not None and before.snapshot_id == manifest.snapshot_id:
            return
        with in_one_commit(self.connection):
            for table in self._tables:
                if table in manifest.files:
                    self._bring(table, manifest, before)
                else:
                    self.connection.execute(f"drop table if exists {SCHEMA}.{table}")
        self._held = manifest

    def _bring(self, table: str, manifest: Manifest, before: Manifest | None) -> None:
        held = before.files.get(table) if before is not None else None
        files = manifest.files[table]
        if held is None or before is None or before.columns[table] != manifest.columns[table]:
            columns = ", ".join(f'"{name}" {kind}' for name, kind in manifest.columns[table].items())
            self.connection.execute(f"create or replace table {SCHEMA}.{table} ({columns})")
            held = ()
        elif held == files:
            return
        new = [file for file in files if file not in held]
        if table in PER_DAY:
            gone = [f"date '{file.day}'" for file in held if file not in files]
            if gone:
                self.connection.execute(f"delete from {SCHEMA}.{table} where date in ({', '.join(gone)})")
        elif held:
            self.connection.execute(f"delete from {SCHEMA}.{table}")
        self._insert(table, manifest, new)

    def _insert(self, table: str, manifest: Manifest, files: Collection[SnapshotFile]) -> None:
        if not files:
            return
        paths = ", ".join("'" + str(self._folder / file.path).replace("'", "''") + "'" for file in files)
        names = ", ".join(f'"{name}"' for name in manifest.columns[table])
        rows = f"select {names} from read_parquet([{paths}], hive_partitioning = false)"
        self.connection.execute(f"insert into {SCHEMA}.{table} ({names}) {rows}")
