"""The warehouse in BigQuery while a sync holds it: a staging table, a plan and one transaction a load."""

import hashlib
from collections.abc import Callable
from datetime import date, datetime, timedelta

from audit_assets.warehouse.bigquery.arrival import arrived, arrived_new, selected, written
from audit_assets.warehouse.bigquery.jobs import Jobs, literal
from audit_assets.warehouse.bigquery.schema import STAGED, bigquery_types
from audit_assets.warehouse.bigquery.statements import (
    ALL_TIME,
    LoadStatements,
    Planned,
    as_json,
    between,
    counted_days,
    inside,
    of_its_day,
    recorded,
    replaced,
    text,
    transaction,
)
from audit_assets.warehouse.protocol import (
    DayWindow,
    HeldCounts,
    Incoming,
    Load,
    LoadCounts,
    LoadTerms,
    SyncPosition,
    SyncRun,
    last_good_repair,
)
from audit_assets.warehouse.schema import WORKSPACE_COLUMNS


class BigQueryWriter:
    """Each method is one job that changes something, at the most, and that job one transaction."""

    def __init__(self, jobs: Jobs, now: Callable[[], datetime]) -> None:
        self._jobs, self._now = jobs, now
        place = jobs.place
        self._raw, self._rejects = place.table("ai_audit_logs"), place.table("ai_audit_rejects")
        self._state, self._days = place.table("ai_audit_sync_state"), place.table("ai_audit_days")
        self._diff = place.table("ai_audit_repair_diff")
        self._days_with_doubles: frozenset[date] | None = None

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
        self, incoming: Incoming, window: DayWindow, terms: LoadTerms, run_after: Callable[[Load], SyncRun]
    ) -> Load:
        with arrived(incoming, self._still_doubled(window)) as rows:
            name = _name(terms.sync_id, window, rows.digest)
            with self._jobs.staged(rows.path, name, STAGED, self._now()) as staging:
                statements = LoadStatements(self._jobs.place, staging, window, terms)
                (counts,) = self._jobs.rows(statements.plan(rows.refused))
                planned = Planned(*counts)
                touched = (window.day,) if window.day and planned.added + planned.changed + planned.removed else ()
                counted = LoadCounts(rows.read, planned.added, planned.changed, planned.removed, dict(rows.rejected))
                load = Load(counted, touched)
                commit = statements.commit(planned, rows.refused, rows.read, run_after(load))
                self._jobs.script(commit, f"commit-{name}")
        if rows.rejected.get("duplicate_id"):
            self._days_with_doubles = None
        return load

    def load_new(self, incoming: Incoming, span: DayWindow, run_after: Callable[[Load], SyncRun]) -> Load | None:
        ((held,),) = self._jobs.rows(f"select count(*) from {self._raw} where {inside(span)}")
        if held:  # a micro-batch came in between
            return None
        with arrived_new(incoming) as rows:
            if rows is None:
                return None
            load = Load(LoadCounts(read=rows.read, added=rows.read), rows.days)
            run = run_after(load)
            name = _name(run.sync_id, span, rows.digest)
            terms = LoadTerms(run.sync_id, run.mode, run.started_at, replace=False, late_before=None)
            with self._jobs.staged(rows.path, name, STAGED, self._now()) as staging:
                statements = LoadStatements(self._jobs.place, staging, span, terms)
                self._jobs.script(statements.commit_new(rows.days, run), f"commit-{name}")
        return load

    def record(self, run: SyncRun) -> None:
        self._jobs.script(transaction(recorded(self._state, run)), f"record-{_digest(repr(run))}")

    def replace_workspaces(self, incoming: Incoming | None) -> int:
        place = self._jobs.place
        table = place.table("ai_audit_workspaces")
        if incoming is None:
            self._jobs.rows(f"delete from {table} where true")
            return 0
        now, types = self._now(), bigquery_types(WORKSPACE_COLUMNS)
        with written(selected(incoming)) as rows:
            name = f"workspaces-{rows.digest[:24]}-{now:%Y%m%d%H%M%S%f}"
            with self._jobs.staged(rows.path, name, types, now) as staging:
                self._jobs.script(transaction(replaced(table, place.table(staging), types)), f"commit-{name}")
        return rows.read

    def doubled_days(self) -> tuple[date, ...]:
        found = self._jobs.rows(
            f"""with doubled as (
                select id from {self._raw} where {ALL_TIME} group by id having count(*) > 1
            )
            select distinct date(created_at) as day from {self._raw}
            where {ALL_TIME} and id in (select id from doubled) order by day"""
        )
        return tuple(day for (day,) in found)

    def bereft_days(self) -> tuple[date, ...]:
        if not self._doubles_known():
            return ()
        found = self._jobs.rows(
            f"""select distinct reject_day from {self._rejects}
            where reason = 'duplicate_id' and source_id not in (select id from {self._raw} where {ALL_TIME})"""
        )
        return tuple(day for (day,) in found)

    def refuse_doubles(self, sync_id: str, mode: str, synced_at: datetime) -> Load:
        numbered = f"""
            select *, row_number() over (partition by id order by created_at desc, row_hash desc) as place
            from {self._raw} where {ALL_TIME}
        """
        found = self._jobs.rows(
            f"select date(created_at) as day, count(*) from ({numbered}) where place > 1 group by day order by day"
        )
        days, refused = tuple(day for day, _ in found), sum(count for _, count in found)
        if not days:
            return Load(LoadCounts(), ())
        at = literal(synced_at)
        script = [
            f"create or replace temp table doubled as select * from ({numbered}) where place > 1",
            f"""insert into {self._diff} (sync_id, recorded_at, mode, `change`, id, created_at, `before`, `after`)
            select {text(sync_id)}, {at}, {text(mode)}, 'gone', id, created_at, {as_json("doubled")}, null
            from doubled""",
            f"""insert into {self._rejects} (reject_day, reason, source_id, created_at_text, created_at, row_hash,
                row_count, first_seen_at, last_seen_at)
            select date(created_at), 'duplicate_id', id, cast(created_at as string), created_at, row_hash, 1, {at}, {at}
            from doubled""",
            f"""merge into {self._raw} as held using doubled
            on {between(days[0], days[-1], "held.")} and held.id = doubled.id and held.created_at = doubled.created_at
            when matched then delete""",
            counted_days(self._days, days, days),
        ]
        self._jobs.script(transaction(script), f"doubles-{_digest(sync_id)}")
        self._days_with_doubles = None
        return Load(LoadCounts(removed=refused, rejected={"duplicate_id": refused}), days)

    def gone_ids(self, sync_id: str) -> tuple[str, ...]:
        found = self._jobs.rows(
            f"select distinct id from {self._diff} where sync_id = {text(sync_id)} and `change` = 'gone'"
        )
        return tuple(id_ for (id_,) in found)

    def counts_by_hour(self, start: datetime, end: datetime) -> HeldCounts:
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
        return HeldCounts(dict(loaded), dict(rejected), outside, all_loaded, all_rejected)

    def held_days(self, first: date, last: date) -> tuple[date, ...]:
        found = self._jobs.rows(
            f"""select date from {self._days}
            where date between date '{first.isoformat()}' and date '{last.isoformat()}' order by date"""
        )
        return tuple(day for (day,) in found)

    def _still_doubled(self, window: DayWindow) -> list[tuple[str, str]]:
        """Rows of the day that were refused because a later day holds their id, while it does."""
        if window.day is None or window.day not in self._doubles_known():
            return []
        return [
            (source_id, row_hash)
            for source_id, row_hash in self._jobs.rows(
                f"""select distinct known.source_id, known.row_hash
                from {self._rejects} as known inner join (
                    select id, max(created_at) as created_at from {self._raw}
                    where {ALL_TIME} and not ({of_its_day(window)}) group by id
                ) as held on held.id = known.source_id and held.created_at > known.created_at
                where known.reason = 'duplicate_id' and known.reject_day = date '{window.day.isoformat()}'"""
            )
        ]

    def _doubles_known(self) -> frozenset[date]:
        """The days that refused a row as duplicate_id: nearly always none, and asked once a session."""
        if self._days_with_doubles is None:
            found = self._jobs.rows(f"select distinct reject_day from {self._rejects} where reason = 'duplicate_id'")
            self._days_with_doubles = frozenset(day for (day,) in found if day is not None)
        return self._days_with_doubles


def _name(sync_id: str, window: DayWindow, digest: str) -> str:
    """What the jobs of one load are called: the same for the same rows of the same sync, and for nothing else."""
    return _digest(f"{sync_id} {window.day} {window.start.isoformat()} {window.end.isoformat()} {digest}")


def _digest(of: str) -> str:
    return hashlib.sha256(of.encode()).hexdigest()[:32]
