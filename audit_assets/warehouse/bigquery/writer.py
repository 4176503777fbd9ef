"""The writer of the BigQuery warehouse: a staging table, a plan and one transaction per load."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta

from audit_assets.warehouse.bigquery.jobs import Jobs, literal
from audit_assets.warehouse.bigquery.parquet_staging import normalized_rows, stage_new_rows, stage_rows, stage_table
from audit_assets.warehouse.bigquery.schema import STAGED, bigquery_types
from audit_assets.warehouse.bigquery.statements import (
    ALL_TIME,
    LoadPlan,
    LoadStatements,
    as_json,
    between,
    count_loads_statement,
    delete_held_removal_statement,
    inside,
    merge_discrepancy_statement,
    of_its_day,
    record_run_statements,
    replace_rows_statements,
    text,
    transaction,
)
from audit_assets.warehouse.protocol import (
    DayWindow,
    ExtractBatch,
    HourDigest,
    Load,
    LoadCounts,
    LoadedCounts,
    LoadOptions,
    SyncPosition,
    SyncRun,
    WorkspacesLoad,
    last_good_repair,
)
from audit_assets.warehouse.schema import WORKSPACE_COLUMNS


class BigQueryWriter:
    """Each method runs at most one job that changes data, in one transaction."""

    def __init__(self, jobs: Jobs, now: Callable[[], datetime]) -> None:
        self._jobs, self._now = jobs, now
        location = jobs.location
        self._raw, self._rejects = location.table("ai_audit_logs"), location.table("ai_audit_rejects")
        self._state, self._days = location.table("ai_audit_sync_state"), location.table("ai_audit_days")
        self._diff = location.table("ai_audit_repair_diff")
        self._discrepancies = location.table("ai_audit_discrepancies")
        self._days_with_duplicates: frozenset[date] | None = None
        self._held_removals: frozenset[date | None] | None = None

    def position(self) -> SyncPosition:
        rows = self._jobs.rows(
            f"""select max(watermark), max(if(status = 'succeeded', started_at, null)),
                array_agg(
                    if(mode = 'full' and status = 'succeeded', struct(
                        started_at, window_start, coalesce(oldest_write_seconds, 0) as open_for
                    ), null) ignore nulls order by started_at
                )
            from {self._state}"""
        )
        ((watermark, succeeded, repairs),) = rows
        return SyncPosition(
            watermark,
            last_good_repair(
                (repair["window_start"], repair["started_at"] - timedelta(seconds=repair["open_for"]))
                for repair in repairs or ()
            ),
            succeeded,
        )

    def load(
        self, batch: ExtractBatch, window: DayWindow, options: LoadOptions, run_after: Callable[[Load], SyncRun]
    ) -> Load:
        with stage_rows(batch, self._still_duplicated(window)) as rows:
            name = _name(options.sync_id, window, rows.digest)
            with self._jobs.staged(rows.path, name, STAGED, self._now()) as staging:
                statements = LoadStatements(self._jobs.location, staging, window, options)
                (counts,) = self._jobs.rows(statements.plan(rows.rejected_rows))
                planned, held = LoadPlan(*counts), 0
                if options.limit is not None and options.limit.holds(planned.removed_live, planned.live_in_window):
                    statements = LoadStatements(self._jobs.location, staging, window, options, removal_is_held=True)
                    held, planned = (
                        planned.removed_live,
                        replace(planned, removed=planned.removed - planned.removed_live),
                    )
                touched = (window.day,) if window.day and planned.added + planned.changed + planned.removed else ()
                counted = LoadCounts(
                    rows.read, planned.added, planned.changed, planned.removed, dict(rows.rejected), held
                )
                load = Load(counted, touched, 0 if held else planned.removed_live)
                ends_hold = options.replace and not held and window.day in self._held_removal_days()
                commit = statements.commit(planned, rows.rejected_rows, rows.read, run_after(load), ends_hold)
                self._jobs.script(commit, f"commit-{name}")
                if held or ends_hold:
                    self._held_removals = None
        if rows.rejected.get("duplicate_id"):
            self._days_with_duplicates = None
        return load

    def load_new(self, batch: ExtractBatch, span: DayWindow, run_after: Callable[[Load], SyncRun]) -> Load | None:
        ((loaded,),) = self._jobs.rows(f"select count(*) from {self._raw} where {inside(span)}")
        if loaded:  # a micro-batch ran in between
            return None
        with stage_new_rows(batch) as rows:
            if rows is None:
                return None
            load = Load(LoadCounts(read=rows.read, added=rows.read), rows.days)
            run = run_after(load)
            name = _name(run.sync_id, span, rows.digest)
            options = LoadOptions(run.sync_id, run.mode, run.started_at, replace=False, late_before=None)
            with self._jobs.staged(rows.path, name, STAGED, self._now()) as staging:
                statements = LoadStatements(self._jobs.location, staging, span, options)
                self._jobs.script(statements.commit_new(rows.days, run), f"commit-{name}")
        return load

    def record(self, run: SyncRun) -> None:
        self._jobs.script(transaction(record_run_statements(self._state, run)), f"record-{_digest(repr(run))}")

    def record_failed(self, run: SyncRun) -> None:
        found = self._jobs.rows(f"select status from {self._state} where sync_id = {text(run.sync_id)}")
        if not found:
            self.record(run)
        elif found[0][0] == "running":
            self._jobs.rows(
                f"update {self._state} set status = 'failed', error = {text(run.error or '')}"
                f" where sync_id = {text(run.sync_id)} and status = 'running'"
            )

    def replace_workspaces(self, batch: ExtractBatch | None, options: LoadOptions) -> WorkspacesLoad:
        location = self._jobs.location
        table = location.table("ai_audit_workspaces")
        found = None if batch is None else normalized_rows(batch)
        at_source: set[str] = set() if found is None else set(found.column("workspace_id").to_pylist())
        known = {id_ for (id_,) in self._jobs.rows(f"select workspace_id from {table}")}
        missing = len(known - at_source)
        if options.limit is not None and options.limit.is_lost(len(known) - missing, len(known)):
            rows = (len(at_source), len(known))
            hold = merge_discrepancy_statement(
                self._discrepancies, "ai_audit_workspaces", None, "removal_held", options, missing, rows
            )
            self._jobs.script(transaction([hold]), f"hold-{_digest(options.sync_id)}")
            self._held_removals = None
            return WorkspacesLoad(len(known), missing)
        if None in self._held_removal_days():
            self._jobs.rows(delete_held_removal_statement(self._discrepancies, "ai_audit_workspaces", None))
            self._held_removals = None
        if found is None:
            self._jobs.rows(f"delete from {table} where true")
            return WorkspacesLoad(0)
        now, types = self._now(), bigquery_types(WORKSPACE_COLUMNS)
        with stage_table(found) as rows:
            name = f"workspaces-{rows.digest[:24]}-{now:%Y%m%d%H%M%S%f}"
            with self._jobs.staged(rows.path, name, types, now) as staging:
                self._jobs.script(
                    transaction(replace_rows_statements(table, location.table(staging), types)), f"commit-{name}"
                )
        return WorkspacesLoad(rows.read)

    def digests_by_hour(self, start: datetime, end: datetime) -> dict[datetime, HourDigest]:
        window = inside(DayWindow(None, start, end))
        found = self._jobs.rows(
            f"""select timestamp_trunc(created_at, hour) as hour_start, sum(row_count),
                sum(row_count * cast(concat('0x', left(row_hash, 8)) as int64))
            from (
                select created_at, row_hash, 1 as row_count from {self._raw} where {window}
                union all
                select created_at, row_hash, row_count from {self._rejects} where reject_day is not null and {window}
            ) group by hour_start"""
        )
        return {hour: HourDigest(rows, digest) for hour, rows, digest in found}

    def record_differences(
        self, differing: Mapping[date, tuple[int, int]], window: DayWindow, options: LoadOptions
    ) -> None:
        of_window = (
            f"kind = 'rows_differ' and date >= date '{window.start.date().isoformat()}'"
            f" and date < date '{window.end.date().isoformat()}'"
        )
        known = {day for (day,) in self._jobs.rows(f"select date from {self._discrepancies} where {of_window}")}
        script = [
            merge_discrepancy_statement(
                self._discrepancies, "ai_audit_logs", day, "rows_differ", options, abs(rows[0] - rows[1]), rows
            )
            for day, rows in differing.items()
        ]
        resolved = ", ".join(f"date '{day.isoformat()}'" for day in sorted(known - set(differing)))
        if resolved:
            script.append(f"delete from {self._discrepancies} where {of_window} and date in ({resolved})")
        if script:
            self._jobs.script(transaction(script), f"differences-{_digest(options.sync_id)}")

    def held_removals(self) -> tuple[date, ...]:
        return tuple(sorted(day for day in self._held_removal_days() if day is not None))

    def lower_watermark(self, to: datetime) -> None:
        at = literal(to)
        self._jobs.rows(f"update {self._state} set watermark = {at} where watermark > {at}")

    def count_live(self, start: datetime, end: datetime) -> int:
        ((rows,),) = self._jobs.rows(
            f"select count(*) from {self._raw} where {inside(DayWindow(None, start, end))} and drill_id is null"
        )
        return rows

    def duplicated_days(self) -> tuple[date, ...]:
        found = self._jobs.rows(
            f"""with duplicates as (
                select id from {self._raw} where {ALL_TIME} group by id having count(*) > 1
            )
            select distinct date(created_at) as day from {self._raw}
            where {ALL_TIME} and id in (select id from duplicates) order by day"""
        )
        return tuple(day for (day,) in found)

    def stale_reject_days(self) -> tuple[date, ...]:
        if not self._has_duplicates():
            return ()
        found = self._jobs.rows(
            f"""select distinct reject_day from {self._rejects}
            where reason = 'duplicate_id' and source_id not in (select id from {self._raw} where {ALL_TIME})"""
        )
        return tuple(day for (day,) in found)

    def reject_duplicates(self, sync_id: str, mode: str, synced_at: datetime) -> Load:
        numbered = f"""
            select *, row_number() over (partition by id order by created_at desc, row_hash desc) as place
            from {self._raw} where {ALL_TIME}
        """
        found = self._jobs.rows(
            f"select date(created_at) as day, count(*) from ({numbered}) where place > 1 group by day order by day"
        )
        days, rejected_rows = tuple(day for day, _ in found), sum(count for _, count in found)
        if not days:
            return Load(LoadCounts(), ())
        at = literal(synced_at)
        script = [
            f"create or replace temp table duplicates as select * from ({numbered}) where place > 1",
            f"""insert into {self._diff} (sync_id, recorded_at, mode, `change`, id, created_at, `before`, `after`)
            select {text(sync_id)}, {at}, {text(mode)}, 'gone', id, created_at, {as_json("duplicates")}, null
            from duplicates""",
            f"""insert into {self._rejects} (reject_day, reason, source_id, created_at_text, created_at, row_hash,
                row_count, first_seen_at, last_seen_at)
            select date(created_at), 'duplicate_id', id, cast(created_at as string), created_at, row_hash, 1, {at}, {at}
            from duplicates""",
            f"""merge into {self._raw} as existing using duplicates
            on {between(days[0], days[-1], "existing.")} and existing.id = duplicates.id
                and existing.created_at = duplicates.created_at
            when matched then delete""",
            count_loads_statement(self._days, days, days),
        ]
        self._jobs.script(transaction(script), f"duplicates-{_digest(sync_id)}")
        self._days_with_duplicates = None
        return Load(LoadCounts(removed=rejected_rows, rejected={"duplicate_id": rejected_rows}), days)

    def deleted_ids(self, sync_id: str) -> tuple[str, ...]:
        found = self._jobs.rows(
            f"select distinct id from {self._diff} where sync_id = {text(sync_id)} and `change` = 'gone'"
        )
        return tuple(id_ for (id_,) in found)

    def counts_by_hour(self, start: datetime, end: datetime) -> LoadedCounts:
        within = inside(DayWindow(None, start, end))
        hour = "timestamp_trunc(created_at, hour)"
        loaded = self._jobs.rows(
            f"select {hour} as hour_start, count(*) from {self._raw} where {within} group by hour_start"
        )
        rejected = self._jobs.rows(
            f"""select {hour} as hour_start, sum(row_count) from {self._rejects}
            where {within} and reject_day is not null group by hour_start"""
        )
        ((outside, all_loaded, all_rejected),) = self._jobs.rows(
            f"""select coalesce(sum(if(reject_day is null, row_count, 0)), 0),
                (select count(*) from {self._raw} where {ALL_TIME}), coalesce(sum(row_count), 0)
            from {self._rejects}"""
        )
        return LoadedCounts(dict(loaded), dict(rejected), outside, all_loaded, all_rejected)

    def loaded_days(self, first: date, last: date) -> tuple[date, ...]:
        found = self._jobs.rows(
            f"""select date from {self._days}
            where date between date '{first.isoformat()}' and date '{last.isoformat()}' order by date"""
        )
        return tuple(day for (day,) in found)

    def _still_duplicated(self, window: DayWindow) -> list[tuple[str, str]]:
        """Rows of the day that were rejected because a later day has their id, if it still has it."""
        if window.day is None or window.day not in self._has_duplicates():
            return []
        return [
            (source_id, row_hash)
            for source_id, row_hash in self._jobs.rows(
                f"""select distinct known.source_id, known.row_hash
                from {self._rejects} as known inner join (
                    select id, max(created_at) as created_at from {self._raw}
                    where {ALL_TIME} and not ({of_its_day(window)}) group by id
                ) as existing on existing.id = known.source_id and existing.created_at > known.created_at
                where known.reason = 'duplicate_id' and known.reject_day = date '{window.day.isoformat()}'"""
            )
        ]

    def _held_removal_days(self) -> frozenset[date | None]:
        """The days with a held removal, None for the workspaces: nearly always none, queried once per session."""
        if self._held_removals is None:
            found = self._jobs.rows(f"select date from {self._discrepancies} where kind = 'removal_held'")
            self._held_removals = frozenset(day for (day,) in found)
        return self._held_removals

    def _has_duplicates(self) -> frozenset[date]:
        """The days with a row rejected as duplicate_id: nearly always none, queried once per session."""
        if self._days_with_duplicates is None:
            found = self._jobs.rows(f"select distinct reject_day from {self._rejects} where reason = 'duplicate_id'")
            self._days_with_duplicates = frozenset(day for (day,) in found if day is not None)
        return self._days_with_duplicates


def _name(sync_id: str, window: DayWindow, digest: str) -> str:
    """The name of one load's jobs: the same for the same rows of the same sync, and unique otherwise."""
    return _digest(f"{sync_id} {window.day} {window.start.isoformat()} {window.end.isoformat()} {digest}")


def _digest(of: str) -> str:
    return hashlib.sha256(of.encode()).hexdigest()[:32]
