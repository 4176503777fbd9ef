"""Scales up a published snapshot, with more workspaces and more days than a run could produce quickly.

It repeats the last whole weeks of a real snapshot into the past, and copies each workspace with its calls, so that
counts per capability grow by the number of copies. Single interactions are copied only for the last 14 days: by
default, no tile of the three tabs reads older ones.
"""

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

from audit_assets.warehouse.snapshot import Manifest, SnapshotFile, open_snapshot, read_manifest
from benchmarks.figure import BenchmarkError

# Tables with a row per workspace, and the columns that distinguish the copies.
_COPIED: Mapping[str, tuple[str, ...]] = {
    "ai_audit_workspace_counts": ("workspace_id",),
    "ai_audit_workspace_stats": ("workspace_id",),
    "ai_audit_workspaces": ("workspace_id",),
    "ai_audit_logs": ("id", "workflow_id"),
}
_PER_DAY = ("ai_audit_workspace_counts", "ai_audit_workspace_stats", "ai_audit_latency_histogram")
_WHOLE = (
    "ai_audit_daily",
    "ai_audit_capability_stats",
    "ai_audit_capability_anomalies",
    "ai_audit_data_quality",
    "ai_audit_error_funnel",
    "ai_audit_workspace_coverage",
)
_DAYS_OF_EVENTS = 14
# Counts that do not scale with the number of workspaces.
_UNSCALED = ("like_day_count",)


@dataclass(frozen=True)
class Scale:
    """Days up to the snapshot's last day, and copies of each workspace, including the original."""

    days: int
    copies: int


def scale_up(source: Path, target: Path, scale: Scale) -> None:
    """Writes the snapshot of `source`, scaled by `scale`, to the folder `target`."""
    before = read_manifest(source)
    if before is None:
        raise BenchmarkError(f"{source} has no snapshot")
    shutil.copytree(source, target)
    with open_snapshot(source) as connection:
        connection.execute("set enable_progress_bar = false")
        _Scaled(connection, before, target, scale).write()


class _Scaled:
    def __init__(self, connection: duckdb.DuckDBPyConnection, before: Manifest, target: Path, scale: Scale) -> None:
        self.connection, self.before, self.target, self.scale = connection, before, target, scale
        published = sorted({file.day for file in before.files["ai_audit_workspace_counts"] if file.day is not None})
        self.last = published[-1]
        self.period = len(published) // 7 * 7  # whole weeks, so that weekends stay weekends
        if self.period == 0:
            raise BenchmarkError("a snapshot of less than a week cannot be scaled: make it with --days 15 at least")

    def write(self) -> None:
        files = dict(self.before.files)
        for table in _PER_DAY:
            days = range(self.scale.days)
            files[table] = tuple(self._day(table, ago) for ago in reversed(days))
        older = tuple(
            file
            for file in files["ai_audit_logs"]
            if file.day is not None and (self.last - file.day).days >= _DAYS_OF_EVENTS
        )
        newer = tuple(self._day("ai_audit_logs", ago) for ago in reversed(range(min(_DAYS_OF_EVENTS, self.period))))
        files["ai_audit_logs"] = (*older, *newer)
        for table in (*_WHOLE, "ai_audit_workspaces"):
            if table in files:
                files[table] = (self._whole(table),)
        manifest = self.before.model_copy(update={"files": files, "snapshot_id": uuid.uuid4().hex})
        (self.target / "manifest.json").write_text(manifest.model_dump_json())

    def _day(self, table: str, ago: int) -> SnapshotFile:
        """The file of the day `ago` days before the last one, built from the same weekday of the original weeks."""
        day = self.last - timedelta(days=ago)
        original = self.last - timedelta(days=ago % self.period)
        rows = f"select * from analytics.{table} where date = date '{original}'"
        return self._file(table, self._copied(table, rows, (original - day).days), day)

    def _whole(self, table: str) -> SnapshotFile:
        if table not in _WHOLE:
            return self._file(table, self._copied(table, f"select * from analytics.{table}", 0), None)
        first = self.last - timedelta(days=self.period - 1)
        parts: list[str] = []
        for weeks in range(-(-self.scale.days // self.period)):
            rows = f"select * from analytics.{table} where date >= date '{first}'"
            parts.append(self._copied(table, rows, weeks * self.period))
        start = self.last - timedelta(days=self.scale.days - 1)
        return self._file(table, f"select * from ({' union all '.join(parts)}) where date >= date '{start}'", None)

    def _copied(self, table: str, rows: str, back: int) -> str:
        """SQL for the rows of the query `rows`, moved `back` days into the past, once per copy."""
        copied = _COPIED.get(table, ())
        columns: list[str] = []
        for name, kind in self.before.columns[table].items():
            if name in copied:
                columns.append(f"case when copy = 0 then {name} else {name} || '-' || copy end as {name}")
            elif back and (kind == "DATE" or kind.startswith("TIMESTAMP")):
                columns.append(f"cast({name} - interval {back} day as {kind}) as {name}")
            elif not copied and name.endswith("_count") and name not in _UNSCALED and kind == "BIGINT":
                columns.append(f"{name} * {self.scale.copies} as {name}")
            else:
                columns.append(name)
        copies = f"(select range as copy from range({self.scale.copies if copied else 1}))"
        return f"select {', '.join(columns)} from ({rows}) cross join {copies}"

    def _file(self, table: str, query: str, day: date | None) -> SnapshotFile:
        folder = f"{table}/date={day}" if day is not None else table
        path = f"{folder}/{uuid.uuid4().hex}.parquet"
        (self.target / folder).mkdir(parents=True, exist_ok=True)
        result = self.connection.execute(f"copy ({query}) to '{self.target / path}' (format parquet, compression zstd)")
        ((rows,),) = result.fetchall()
        return SnapshotFile(path=path, day=day, rows=rows, version="scaled")
