"""The published snapshot: immutable Parquet files and one manifest, swapped whole, that every reader uses.

A reader of the live DuckDB file would block its writer; a reader of the snapshot blocks nobody and sees all tables as
of one moment. Only what changed since the last manifest is written; replaced files stay for readers that are on them.
"""

import os
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
from pydantic import BaseModel, ConfigDict

from audit_assets.warehouse.keeping import Keeper
from audit_assets.warehouse.schema import SCHEMA

# Tables that grow with traffic: a file a UTC day. Raw rows have no date column of their own.
PER_DAY: dict[str, str] = {
    "ai_audit_logs": "cast(created_at as date)",
    "ai_audit_workspace_stats": "date",
    "ai_audit_workspace_counts": "date",
    "ai_audit_latency_histogram": "date",
    "ai_audit_capability_grid": "date",
    "ai_audit_total_grid": "date",
    "ai_audit_capability_outcomes": "date",
    "ai_audit_total_outcomes": "date",
}

# A changed day changes what is usual on the days after it: these are rebuilt from the first changed day on.
ONWARD = ("ai_audit_capability_grid", "ai_audit_total_grid", "ai_audit_capability_outcomes", "ai_audit_total_outcomes")

# Tables that only grow by events: written again only where one of these three changed.
_EVENTS: dict[str, tuple[str, str, str]] = {
    "ai_audit_repair_diff": ("count(*)", "0", "max(recorded_at)"),
    "ai_audit_rejects": ("count(*)", "coalesce(sum(row_count), 0)", "max(last_seen_at)"),
    "ai_audit_workspaces": ("count(*)", "0", "max(synced_at)"),
}
_LATEST_RUNS = 5000
NOTHING_PUBLISHED = "nothing has been published yet: run `make demo`, or `audit sync` and `audit build`"
KEEP_REPLACED = timedelta(minutes=10)


class SnapshotError(Exception):
    """There is no snapshot to read. The message says what makes one."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SnapshotFile(_Frozen):
    """One immutable file: its path below the snapshot folder, the UTC day it holds (None: the whole table), rows, and
    the version of what it was written from."""

    path: str
    day: date | None
    rows: int
    version: str


class ReplacedFile(_Frozen):
    """A file no longer in the snapshot, and when it left it (UTC)."""

    path: str
    at: datetime


class Manifest(_Frozen):
    """Which files make up the snapshot, and which left it lately; `views` are the models that are views, by their SQL.
    Times are UTC; `watermark` is how far the source has been read."""

    snapshot_id: str
    warehouse_id: str
    published_at: datetime
    last_synced_at: datetime | None
    source_max_created_at: datetime | None
    watermark: datetime | None
    columns: dict[str, dict[str, str]]
    files: dict[str, tuple[SnapshotFile, ...]]
    views: dict[str, str] = {}
    replaced: tuple[ReplacedFile, ...]

    def paths(self) -> set[str]:
        """Every file of the snapshot, below its folder."""
        return {file.path for files in self.files.values() for file in files}

    def rows(self, table: str) -> int:
        """Rows of `table` in the snapshot."""
        return sum(file.rows for file in self.files.get(table, ()))


@dataclass(frozen=True)
class Published:
    """What one publishing wrote."""

    manifest: Manifest
    files_written: int
    files_removed: int


def read_manifest(folder: Path) -> Manifest | None:
    """The current manifest, None where nothing has been published."""
    try:
        return Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        return None


def publish(
    keeper: Keeper,
    folder: Path,
    now: datetime,
    only: Collection[str] | None = None,
    days: tuple[date, date] | None = None,
) -> Published:
    """Writes what changed since the last manifest and swaps the manifest; the caller holds the warehouse.

    Whenever it is killed, readers have the old manifest or the new one, both whole. With `only`, the other tables stay
    as they were published; nothing happens where nothing was. With `days` (UTC, both included) no others are written
    of the tables that have a file a day.
    """
    before = read_manifest(folder)
    ((warehouse_id,),) = keeper.fetch(f"select warehouse_id from {SCHEMA}.warehouse_identity")
    # A warehouse that was made anew counts its builds from one again: nothing published before is kept.
    ours = before if before and before.warehouse_id == warehouse_id else None
    there = keeper.columns()
    writing = _Writing(keeper, folder, there if only is None else set(only) & set(there), days)
    files: dict[str, tuple[SnapshotFile, ...]] = {}
    columns: dict[str, dict[str, str]] = {}
    for table in sorted(there):
        if only is not None and table not in only:
            if ours and table in ours.files:
                columns[table], files[table] = ours.columns[table], ours.files[table]
            continue
        columns[table] = dict(there[table])
        held = ours.files.get(table, ()) if ours and ours.columns.get(table) == columns[table] else ()
        files[table] = writing.days(table, held) if table in PER_DAY else (writing.whole(table, held),)
    ((synced, watermark, source_max),) = keeper.fetch(
        f"""select max(case when status = 'succeeded' then last_synced_at end), max(watermark), (
                select source_max_created_at from {SCHEMA}.ai_audit_sync_state
                where source_max_created_at is not null order by started_at desc limit 1
            ) from {SCHEMA}.ai_audit_sync_state"""
    )
    live = {file.path for kept in files.values() for file in kept}
    left = before.paths() - live if before else set[str]()
    replaced = [*(before.replaced if before else ()), *(ReplacedFile(path=path, at=now) for path in sorted(left))]
    expired = [file for file in replaced if now - file.at > KEEP_REPLACED]
    manifest = Manifest(
        snapshot_id=uuid.uuid4().hex,
        warehouse_id=warehouse_id,
        published_at=now,
        last_synced_at=synced,
        source_max_created_at=source_max,
        watermark=watermark,
        columns=columns,
        files=files,
        views=dict(keeper.views()),
        replaced=tuple(file for file in replaced if now - file.at <= KEEP_REPLACED),
    )
    _swap(folder, manifest)
    for file in expired:
        (folder / file.path).unlink(missing_ok=True)
    return Published(manifest, len(live - before.paths() if before else live), len(expired))


def sweep(folder: Path, now: datetime) -> int:
    """Deletes files that killed publishings left behind, ten minutes old at least; how many. For upkeep: it looks at
    every file."""
    manifest = read_manifest(folder)
    if manifest is None:
        return 0
    known = manifest.paths() | {file.path for file in manifest.replaced}
    too_old = (now - KEEP_REPLACED).timestamp()
    orphans = [
        path
        for path in folder.rglob("*.parquet")
        if str(path.relative_to(folder)) not in known and path.stat().st_mtime < too_old
    ]
    for path in orphans:
        path.unlink()
    return len(orphans)


def open_snapshot(
    folder: Path, tables: Iterable[str] | None = None, days: tuple[date, date] | None = None
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB (time zone UTC) with a view a table in schema `analytics`, as of the current manifest.

    With `days` (UTC, both included) it holds no other days of the tables that have a file a day. The files behind it
    stay readable for ten minutes after the next publishing: open one per task, not per process. Raises SnapshotError
    where nothing has been published.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise SnapshotError(NOTHING_PUBLISHED)
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(f"set TimeZone = 'UTC'; create schema {SCHEMA}")
    wanted = {*manifest.files, *manifest.views} if tables is None else set(tables)
    read = wanted | ({"ai_audit_logs"} if wanted & set(manifest.views) else set())
    for table in sorted(read & set(manifest.files)):
        connection.execute(_view(folder, manifest, table, days))
    for name in sorted(wanted & set(manifest.views)):
        connection.execute(manifest.views[name])
    return connection


def _view(folder: Path, manifest: Manifest, table: str, days: tuple[date, date] | None) -> str:
    paths = [
        str(folder / file.path)
        for file in manifest.files[table]
        if days is None or file.day is None or days[0] <= file.day <= days[1]
    ]
    columns = manifest.columns[table]
    if not paths:
        typed = columns if table not in PER_DAY else {**columns, "date": "date"}
        nothing = ", ".join(f'null::{kind} as "{name}"' for name, kind in typed.items())
        return f"create view {SCHEMA}.{table} as select {nothing} where false"
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    names = ", ".join(f'"{name}"' for name in columns)
    # Per-day files lie in date=YYYY-MM-DD folders: a filter on `date` then opens only the files it needs.
    hive = (
        ", hive_partitioning = true, hive_types = {'date': date}" if table in PER_DAY else ", hive_partitioning = false"
    )
    more = ", date" if table in PER_DAY and "date" not in columns else ""
    return f"create view {SCHEMA}.{table} as select {names}{more} from read_parquet([{listed}]{hive})"


class _Writing:
    """Writes the files of one publishing that are not there yet."""

    def __init__(self, keeper: Keeper, folder: Path, tables: Collection[str], days: tuple[date, date] | None) -> None:
        self._keeper, self._folder = keeper, folder
        first, last = days or (date.min, date.max)
        by_day = not set(tables).isdisjoint(PER_DAY)
        counted = f"select date, builds from {SCHEMA}.ai_audit_days where builds > 0"
        builds = keeper.fetch(counted) if by_day else []
        self._builds: dict[date, int] = {day: count for day, count in builds if first <= day <= last}
        self._versions = _versions(keeper, tables)

    def days(self, table: str, held: tuple[SnapshotFile, ...]) -> tuple[SnapshotFile, ...]:
        """A file a day, new where the models built the day since."""
        day_of = PER_DAY[table]
        kept = {file.day: file for file in held}
        stale = {day for day, count in self._builds.items() if day not in kept or kept[day].version != str(count)}
        if table in ONWARD and stale:
            later = self._keeper.fetch(
                f"select distinct {day_of} from {SCHEMA}.{table} where {day_of} >= date '{min(stale).isoformat()}'"
            )
            gone = {day for day in kept if day is not None and day >= min(stale)}
            stale |= {day for (day,) in later} | gone
        paths = {day: f"{table}/date={day.isoformat()}/{uuid.uuid4().hex}.parquet" for day in sorted(stale)}
        rows = self._keeper.copy_days(table, day_of, {day: self._folder / path for day, path in paths.items()})
        for day, path in paths.items():
            _seal(self._folder / path)
            kept[day] = SnapshotFile(path=path, day=day, rows=rows[day], version=str(self._builds.get(day, 0)))
        return tuple(kept[day] for day in sorted(day for day in kept if day is not None))

    def whole(self, table: str, held: tuple[SnapshotFile, ...]) -> SnapshotFile:
        """One file; the one that is there where nothing was added to the table."""
        version = self._versions.get(table)
        if version is not None and held and held[0].version == version:
            return held[0]
        query = f"select * from {SCHEMA}.{table}"
        if table == "ai_audit_sync_state":
            query += f" order by started_at desc limit {_LATEST_RUNS}"
        path = f"{table}/{uuid.uuid4().hex}.parquet"
        rows = self._keeper.copy(query, self._folder / path)
        _seal(self._folder / path)
        return SnapshotFile(path=path, day=None, rows=rows, version=version or "")


def _seal(path: Path) -> None:
    """For reading alone: readers share the file, by a connection that could write files too."""
    path.chmod(0o444)


def _versions(keeper: Keeper, tables: Collection[str]) -> dict[str, str]:
    """Table → what changes with its content: what the ledger's copies were made from, and figures of the others."""
    events = [
        f"select '{table}' as name, {count} as rows_there, {total} as total, {newest} as newest from {SCHEMA}.{table}"
        for table, (count, total, newest) in _EVENTS.items()
        if table in tables
    ]
    found = keeper.fetch(" union all ".join(events)) if events else []
    versions = {name: f"{count} {total} {newest}" for name, count, total, newest in found}
    return {**versions, **keeper.copied_versions()}


def _swap(folder: Path, manifest: Manifest) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "manifest.json.new"
    with temporary.open("w") as file:
        file.write(manifest.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / "manifest.json")
