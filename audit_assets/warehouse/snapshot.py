"""The published snapshot that every reader uses: immutable Parquet files and one manifest, replaced atomically.

A reader of the live DuckDB file would block its writer. A reader of the snapshot blocks nobody and sees all tables at
one point in time. Only what changed since the last manifest is written; replaced files stay for current readers.
"""

import os
import sys
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
from pydantic import Field, ValidationError

from audit_assets.config.validation import FrozenModel
from audit_assets.warehouse.builds import Build, read_builds
from audit_assets.warehouse.protocol import MaintenanceSession
from audit_assets.warehouse.schema import SCHEMA

# Tables that grow with traffic: one file per UTC day. Raw rows have no date column of their own.
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

# A changed day changes the expectations of later days: these tables are rewritten from the first changed day on.
DEPENDS_ON_EARLIER_DAYS = (
    "ai_audit_capability_grid",
    "ai_audit_total_grid",
    "ai_audit_capability_outcomes",
    "ai_audit_total_outcomes",
)

# Tables that grow by events only: rewritten only if one of these three values changed.
_EVENTS: dict[str, tuple[str, str, str]] = {
    "ai_audit_repair_diff": ("count(*)", "0", "max(recorded_at)"),
    "ai_audit_rejects": ("count(*)", "coalesce(sum(row_count), 0)", "max(last_seen_at)"),
    "ai_audit_workspaces": ("count(*)", "0", "max(synced_at)"),
    "ai_audit_discrepancies": ("count(*)", "coalesce(sum(row_count), 0)", "max(last_seen_at)"),
}
# Runs published per mode: three days of deltas, and more repairs than there will ever be.
_LATEST_RUNS = 5000
_RUNS = f"""
    select * from {SCHEMA}.ai_audit_sync_state
    where sync_id in (
        select sync_id from (
            select
                sync_id,
                row_number() over (partition by mode order by started_at desc, sync_id) as place_of_mode,
                row_number() over (partition by mode, status order by started_at desc, sync_id) as place_of_kind
            from {SCHEMA}.ai_audit_sync_state
        ) as numbered
        where place_of_mode <= {_LATEST_RUNS} or place_of_kind = 1
    ) or sync_id in (select sync_id from {SCHEMA}.ai_audit_model_builds where sync_id is not null)
    order by started_at desc, sync_id
"""
NOTHING_PUBLISHED = "nothing has been published yet: run `make demo`, or `audit sync` and `audit build`"
KEEP_REPLACED = timedelta(minutes=10)


class SnapshotError(Exception):
    """There is no snapshot to read. The message says how to create one."""


class SnapshotFile(FrozenModel):
    """One immutable file: its path below the snapshot folder, its UTC day (None: the whole table), its rows, and the
    version of the data it was written from."""

    path: str
    day: date | None
    rows: int
    version: str


class ReplacedFile(FrozenModel):
    """A file that is no longer in the snapshot, and when it was replaced (UTC)."""

    path: str
    at: datetime


class Manifest(FrozenModel):
    """The files of the snapshot, and those replaced lately; `views` maps the models that are views to their SQL.

    Times are UTC. `published_at` is the last publishing, `facts_published_at` the last publishing of all tables.
    `last_synced_at` is the end of the newest sync whose rows are in every model's table, and `builds` has the same per
    table: publishing other tables alone changes neither. A table's version in `versions` grows with each publishing
    that writes the table, and never decreases, even if the warehouse is recreated. `watermark` is how far the source
    has been read.
    """

    snapshot_id: str
    warehouse_id: str
    published_at: datetime
    facts_published_at: datetime | None = None  # missing in manifests of earlier versions
    last_synced_at: datetime | None
    builds: dict[str, Build] = Field(default_factory=dict)
    versions: dict[str, int] = Field(default_factory=dict)
    source_max_created_at: datetime | None
    watermark: datetime | None
    columns: dict[str, dict[str, str]]
    files: dict[str, tuple[SnapshotFile, ...]]
    views: dict[str, str] = Field(default_factory=dict)
    replaced: tuple[ReplacedFile, ...]

    def paths(self) -> set[str]:
        """The path of every file of the snapshot, below its folder."""
        return {file.path for files in self.files.values() for file in files}

    def rows(self, table: str) -> int:
        """Rows of `table` in the snapshot."""
        return sum(file.rows for file in self.files.get(table, ()))


@dataclass(frozen=True)
class Published:
    """The result of one publishing."""

    manifest: Manifest
    files_written: int
    files_removed: int


def read_manifest(folder: Path) -> Manifest | None:
    """The current manifest. None if nothing has been published, or if the file is truncated, as by a full disk: then
    the next publishing rewrites everything."""
    try:
        return Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def publish(
    maintenance: MaintenanceSession,
    folder: Path,
    now: datetime,
    only: Collection[str] | None = None,
    days: tuple[date, date] | None = None,
) -> Published:
    """Writes what changed since the last manifest and replaces the manifest. The caller holds the warehouse's lock.

    If it is killed, readers have the old or the new manifest, both complete. With `only`, the other tables stay as
    published, and stay unpublished if they were not. With `days` (UTC, both included) no other days are written of the
    tables with one file per day.
    """
    before = read_manifest(folder)
    ((warehouse_id,),) = maintenance.fetch(f"select warehouse_id from {SCHEMA}.warehouse_identity")
    # A recreated warehouse counts its builds from one again, so nothing published before is reused.
    reusable = before if before and before.warehouse_id == warehouse_id else None
    warehouse_columns = maintenance.columns()
    writing = _SnapshotWriter(
        maintenance, folder, warehouse_columns if only is None else set(only) & set(warehouse_columns), days
    )
    files: dict[str, tuple[SnapshotFile, ...]] = {}
    columns: dict[str, dict[str, str]] = {}
    for table in sorted(warehouse_columns):
        if only is not None and table not in only:
            if reusable and table in reusable.files:
                columns[table], files[table] = reusable.columns[table], reusable.files[table]
            continue
        columns[table] = dict(warehouse_columns[table])
        published = reusable.files.get(table, ()) if reusable and reusable.columns.get(table) == columns[table] else ()
        files[table] = writing.days(table, published) if table in PER_DAY else (writing.whole(table, published),)
    synced, watermark, source_max = _sync_times(maintenance)
    builds = _builds(maintenance, reusable, only) if "ai_audit_model_builds" in warehouse_columns else {}
    live = {file.path for kept in files.values() for file in kept}
    left = before.paths() - live if before else set[str]()
    replaced = [*(before.replaced if before else ()), *(ReplacedFile(path=path, at=now) for path in sorted(left))]
    expired = [file for file in replaced if now - file.at > KEEP_REPLACED]
    manifest = Manifest(
        snapshot_id=uuid.uuid4().hex,
        warehouse_id=warehouse_id,
        published_at=now,
        facts_published_at=now if only is None else reusable.facts_published_at if reusable else None,
        last_synced_at=min((build.last_synced_at for build in builds.values()), default=synced),
        builds=builds,
        versions=_versions_of(files, before, now),
        source_max_created_at=source_max,
        watermark=watermark,
        columns=columns,
        files=files,
        views=dict(maintenance.views()),
        replaced=tuple(file for file in replaced if now - file.at <= KEEP_REPLACED),
    )
    _swap(folder, manifest)
    for file in expired:
        (folder / file.path).unlink(missing_ok=True)
    return Published(manifest, len(live - before.paths() if before else live), len(expired))


def _sync_times(maintenance: MaintenanceSession) -> tuple[datetime | None, datetime | None, datetime | None]:
    """When the newest successful sync ended, the watermark, and the newest row the source had at the last sync that
    read it. UTC; None before the first sync."""
    ((synced, watermark, source_max),) = maintenance.fetch(
        f"""select max(case when status = 'succeeded' then last_synced_at end), max(watermark), (
                select source_max_created_at from {SCHEMA}.ai_audit_sync_state
                where source_max_created_at is not null order by started_at desc, sync_id limit 1
            ) from {SCHEMA}.ai_audit_sync_state"""
    )
    return synced, watermark, source_max


def _versions_of(
    files: Mapping[str, tuple[SnapshotFile, ...]], before: Manifest | None, now: datetime
) -> dict[str, int]:
    """The version of each table: a new one if its files differ from `before`. It is the time of the publishing in
    microseconds, or one more than the highest version so far if a clock went back."""
    known = before.versions if before else {}
    next_version = max(int(now.timestamp() * 1e6), *(version + 1 for version in known.values()), 0)
    return {
        table: known[table] if before and table in known and before.files.get(table) == published else next_version
        for table, published in files.items()
    }


def _builds(
    maintenance: MaintenanceSession, reusable: Manifest | None, only: Collection[str] | None
) -> dict[str, Build]:
    """The builds of the models' tables. Tables that are not written keep their published build."""
    if only is None:
        return read_builds(maintenance)
    known = dict(reusable.builds) if reusable else {}
    if set(only).isdisjoint(known):
        return known
    return known | {table: build for table, build in read_builds(maintenance).items() if table in only}


def delete_orphans(folder: Path, now: datetime) -> int:
    """Deletes files that killed publishings left behind, at least ten minutes old. Returns the number of deleted files.
    For upkeep: it checks every file."""
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
    folder: Path,
    tables: Iterable[str] | None = None,
    days: tuple[date, date] | None = None,
    manifest: Manifest | None = None,
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB (time zone UTC) with one view per table in schema `analytics`, from `manifest`, by
    default the current one.

    With `days` (UTC, both included) the tables with one file per day have no other days. The files stay readable for
    ten minutes after the next publishing: open a snapshot per task, not per process. Raises SnapshotError if nothing
    has been published.
    """
    manifest = manifest or read_manifest(folder)
    if manifest is None:
        path = folder / "manifest.json"
        raise SnapshotError(f"{path} is truncated: `audit build` rewrites it" if path.exists() else NOTHING_PUBLISHED)
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(f"set TimeZone = 'UTC'; create schema {SCHEMA}")
    wanted = {*manifest.files, *manifest.views} if tables is None else set(tables)
    read = wanted | ({"ai_audit_logs"} if wanted & set(manifest.views) else set[str]())
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
    # Per-day files are in date=YYYY-MM-DD folders: a filter on `date` opens only the files it needs.
    hive = (
        ", hive_partitioning = true, hive_types = {'date': date}" if table in PER_DAY else ", hive_partitioning = false"
    )
    more = ", date" if table in PER_DAY and "date" not in columns else ""
    return f"create view {SCHEMA}.{table} as select {names}{more} from read_parquet([{listed}]{hive})"


class _SnapshotWriter:
    """Writes the new files of one publishing."""

    def __init__(
        self, maintenance: MaintenanceSession, folder: Path, tables: Collection[str], days: tuple[date, date] | None
    ) -> None:
        self._keeper, self._folder = maintenance, folder
        first, last = days or (date.min, date.max)
        by_day = not set(tables).isdisjoint(PER_DAY)
        counted = f"select date, builds from {SCHEMA}.ai_audit_days where builds > 0"
        builds = maintenance.fetch(counted) if by_day else []
        self._builds: dict[date, int] = {day: count for day, count in builds if first <= day <= last}
        self._versions = _versions(maintenance, tables)

    def days(self, table: str, published: tuple[SnapshotFile, ...]) -> tuple[SnapshotFile, ...]:
        """One file per day, rewritten if the models built the day since."""
        day_of = PER_DAY[table]
        kept = {file.day: file for file in published}
        stale = {day for day, count in self._builds.items() if day not in kept or kept[day].version != str(count)}
        if table in DEPENDS_ON_EARLIER_DAYS and stale:
            later = self._keeper.fetch(
                f"select distinct {day_of} from {SCHEMA}.{table} where {day_of} >= date '{min(stale).isoformat()}'"
            )
            deleted = {day for day in kept if day is not None and day >= min(stale)}
            stale |= {day for (day,) in later} | deleted
        paths = {day: f"{table}/date={day.isoformat()}/{uuid.uuid4().hex}.parquet" for day in sorted(stale)}
        rows = self._keeper.copy_days(table, day_of, {day: self._folder / path for day, path in paths.items()})
        for day, path in paths.items():
            _make_read_only(self._folder / path)
            kept[day] = SnapshotFile(path=path, day=day, rows=rows[day], version=str(self._builds.get(day, 0)))
        return tuple(kept[day] for day in sorted(day for day in kept if day is not None))

    def whole(self, table: str, published: tuple[SnapshotFile, ...]) -> SnapshotFile:
        """One file for the table; the published one if the table did not change."""
        version = self._versions.get(table)
        if version is not None and published and published[0].version == version:
            return published[0]
        query = _RUNS if table == "ai_audit_sync_state" else f"select * from {SCHEMA}.{table}"
        path = f"{table}/{uuid.uuid4().hex}.parquet"
        rows = self._keeper.copy(query, self._folder / path)
        _make_read_only(self._folder / path)
        return SnapshotFile(path=path, day=None, rows=rows, version=version or "")


def _make_read_only(path: Path) -> None:
    """Makes a file read-only for its owner: readers have a connection that could also write files. If the folder has an
    access list (ACL), the users and groups in it may read the file too."""
    path.chmod(path.stat().st_mode & 0o550 if _has_access_list(path) else 0o400)


def _has_access_list(path: Path) -> bool:
    if sys.platform != "linux":
        return False
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:  # the file system has no access lists
        return False


def _versions(maintenance: MaintenanceSession, tables: Collection[str]) -> dict[str, str]:
    """Table → a version that changes with its content: the ledger export's versions, and figures of event tables."""
    events = [
        f"select '{table}' as name, {count} as rows_there, {total} as total, {newest} as newest from {SCHEMA}.{table}"
        for table, (count, total, newest) in _EVENTS.items()
        if table in tables
    ]
    found = maintenance.fetch(" union all ".join(events)) if events else []
    versions = {name: f"{count} {total} {newest}" for name, count, total, newest in found}
    return {**versions, **maintenance.copied_versions()}


def _swap(folder: Path, manifest: Manifest) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "manifest.json.new"
    with temporary.open("w") as file:
        file.write(manifest.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / "manifest.json")
