"""What a sync reads and writes in the DuckDB tables, one transaction per call."""

from collections.abc import Callable, Mapping
from datetime import date, datetime

import duckdb

from audit_assets.warehouse.duckdb.errors import memory_errors
from audit_assets.warehouse.duckdb.statements import (
    NotAllNewError,
    insert_new,
    inside,
    load_rows,
    record_differences,
    reject_duplicates,
    replace_workspaces,
    transaction,
)
from audit_assets.warehouse.protocol import (
    DayWindow,
    ExtractBatch,
    HourDigest,
    Load,
    LoadedCounts,
    LoadOptions,
    SyncPosition,
    SyncRun,
    WorkspacesLoad,
    last_good_repair,
)
from audit_assets.warehouse.schema import SCHEMA


class DuckDBWriter:
    """The writer on an open connection, while the lock is held."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def position(self) -> SyncPosition:
        ((watermark, succeeded),) = self.connection.execute(
            f"""select max(watermark), max(started_at) filter (where status = 'succeeded')
            from {SCHEMA}.ai_audit_sync_state"""
        ).fetchall()
        repairs = self.connection.execute(
            f"""select window_start, started_at - to_microseconds((coalesce(oldest_write_seconds, 0) * 1e6)::bigint)
            from {SCHEMA}.ai_audit_sync_state where mode = 'full' and status = 'succeeded' order by started_at"""
        ).fetchall()
        return SyncPosition(watermark, last_good_repair(repairs), succeeded)

    def load(
        self, batch: ExtractBatch, window: DayWindow, options: LoadOptions, run_after: Callable[[Load], SyncRun]
    ) -> Load:
        with memory_errors(), transaction(self.connection):
            load = load_rows(self.connection, batch, window, options)
            self._record(run_after(load))
        return load

    def load_new(self, batch: ExtractBatch, span: DayWindow, run_after: Callable[[Load], SyncRun]) -> Load | None:
        try:
            with memory_errors(), transaction(self.connection):
                load = insert_new(self.connection, batch, span)
                self._record(run_after(load))
        except NotAllNewError:
            return None
        return load

    def record(self, run: SyncRun) -> None:
        with transaction(self.connection):
            self._record(run)

    def _record(self, run: SyncRun) -> None:
        row = run.row()
        self.connection.execute(f"delete from {SCHEMA}.ai_audit_sync_state where sync_id = ?", [run.sync_id])
        columns, marks = ", ".join(row), ", ".join("?" for _ in row)
        self.connection.execute(
            f"insert into {SCHEMA}.ai_audit_sync_state ({columns}) values ({marks})", list(row.values())
        )

    def record_failed(self, run: SyncRun) -> None:
        with transaction(self.connection):
            state, of_run = f"{SCHEMA}.ai_audit_sync_state", [run.sync_id]
            found = self.connection.execute(f"select status from {state} where sync_id = ?", of_run).fetchall()
            if not found:
                self._record(run)
            elif found[0][0] == "running":
                failed = f"update {state} set status = 'failed', error = ? where sync_id = ?"
                self.connection.execute(failed, [run.error, *of_run])

    def replace_workspaces(self, batch: ExtractBatch | None, options: LoadOptions) -> WorkspacesLoad:
        with transaction(self.connection):
            return replace_workspaces(self.connection, batch, options)

    def digests_by_hour(self, start: datetime, end: datetime) -> dict[datetime, HourDigest]:
        window = inside(DayWindow(None, start, end))
        found = self.connection.execute(
            f"""select date_trunc('hour', created_at), sum(row_count)::bigint,
                sum(row_count * ('0x' || left(row_hash, 8))::bigint)::bigint
            from (
                select created_at, row_hash, 1 as row_count from {SCHEMA}.ai_audit_logs where {window}
                union all
                select created_at, row_hash, row_count from {SCHEMA}.ai_audit_rejects
                where reject_day is not null and {window}
            ) group by 1"""
        ).fetchall()
        return {hour: HourDigest(rows, digest) for hour, rows, digest in found}

    def record_differences(
        self, differing: Mapping[date, tuple[int, int]], window: DayWindow, options: LoadOptions
    ) -> None:
        with transaction(self.connection):
            record_differences(self.connection, differing, window, options)

    def held_removals(self) -> tuple[date, ...]:
        found = self.connection.execute(
            f"""select date from {SCHEMA}.ai_audit_discrepancies
            where kind = 'removal_held' and date is not null order by date"""
        ).fetchall()
        return tuple(day for (day,) in found)

    def lower_watermark(self, to: datetime) -> None:
        self.connection.execute(f"update {SCHEMA}.ai_audit_sync_state set watermark = ? where watermark > ?", [to, to])

    def count_live(self, start: datetime, end: datetime) -> int:
        ((rows,),) = self.connection.execute(
            f"""select count(*) from {SCHEMA}.ai_audit_logs
            where drill_id is null and {inside(DayWindow(None, start, end))}"""
        ).fetchall()
        return rows

    def duplicated_days(self) -> tuple[date, ...]:
        found = self.connection.execute(
            f"""with duplicates as (
                select id from {SCHEMA}.ai_audit_logs group by id having count(*) > 1
            )
            select distinct cast(created_at as date) as day
            from {SCHEMA}.ai_audit_logs where id in (select id from duplicates) order by day"""
        ).fetchall()
        return tuple(day for (day,) in found)

    def stale_reject_days(self) -> tuple[date, ...]:
        found = self.connection.execute(
            f"""select distinct reject_day from {SCHEMA}.ai_audit_rejects
            where reason = 'duplicate_id' and source_id not in (select id from {SCHEMA}.ai_audit_logs)"""
        ).fetchall()
        return tuple(day for (day,) in found)

    def reject_duplicates(self, sync_id: str, mode: str, synced_at: datetime) -> Load:
        with transaction(self.connection):
            return reject_duplicates(self.connection, sync_id, mode, synced_at)

    def deleted_ids(self, sync_id: str) -> tuple[str, ...]:
        found = self.connection.execute(
            f"select distinct id from {SCHEMA}.ai_audit_repair_diff where sync_id = ? and change = 'gone'", [sync_id]
        ).fetchall()
        return tuple(id_ for (id_,) in found)

    def counts_by_hour(self, start: datetime, end: datetime) -> LoadedCounts:
        hourly = (
            "select date_trunc('hour', created_at), sum({})::bigint from {} where created_at >= ? and created_at < ?"
        )
        loaded = self.connection.execute(hourly.format("1", f"{SCHEMA}.ai_audit_logs") + " group by 1", [start, end])
        by_hour = dict(loaded.fetchall())
        rejected = self.connection.execute(
            hourly.format("row_count", f"{SCHEMA}.ai_audit_rejects") + " and reject_day is not null group by 1",
            [start, end],
        )
        rejected_by_hour = dict(rejected.fetchall())
        ((outside, all_loaded, all_rejected),) = self.connection.execute(
            f"""select coalesce(sum(row_count) filter (where reject_day is null), 0)::bigint,
                (select count(*) from {SCHEMA}.ai_audit_logs), coalesce(sum(row_count), 0)::bigint
            from {SCHEMA}.ai_audit_rejects"""
        ).fetchall()
        return LoadedCounts(by_hour, rejected_by_hour, outside, all_loaded, all_rejected)

    def loaded_days(self, first: date, last: date) -> tuple[date, ...]:
        found = self.connection.execute(
            f"select date from {SCHEMA}.ai_audit_days where date between ? and ? order by date", [first, last]
        ).fetchall()
        return tuple(day for (day,) in found)
