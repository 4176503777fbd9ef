"""SQL of the DuckDB warehouse: upserts by day, rejects, load counts per day, recorded differences."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime

import duckdb
import pyarrow as pa

from audit_assets.warehouse.protocol import (
    DayWindow,
    DiscrepancyKind,
    ExtractBatch,
    Load,
    LoadCounts,
    LoadOptions,
    WorkspacesLoad,
)
from audit_assets.warehouse.schema import RAW_COLUMNS, SCHEMA, WORKSPACE_COLUMNS

RAW = f"{SCHEMA}.ai_audit_logs"

# A whole row as JSON text; {0} is the row's table alias.
AS_JSON = "to_json(struct_pack(" + ", ".join(f"{name} := {{0}}.{name}" for name in RAW_COLUMNS) + "))::varchar"


def inside(window: DayWindow) -> str:
    """The predicate for raw rows in the window, with literals, so that row groups of other days are skipped."""
    start, end = window.start.isoformat(), window.end.isoformat()
    return f"created_at >= timestamptz '{start}' and created_at < timestamptz '{end}'"


def of_its_day(window: DayWindow) -> str:
    """The predicate for raw rows that may be older versions of the window's rows: those of its whole day."""
    if window.day is None:
        return "false"
    start = f"timestamptz '{window.day.isoformat()} 00:00:00+00'"
    return f"created_at >= {start} and created_at < {start} + interval 1 day"


def count_loads(connection: duckdb.DuckDBPyConnection, seen: set[date], touched: set[date]) -> None:
    """Records the days `seen`, and counts a load for the days `touched`, whose rows changed."""
    for day in sorted(seen):
        connection.execute(
            f"""merge into {SCHEMA}.ai_audit_days existing using (select ?::date as date, ?::bigint as loads) new
            on existing.date = new.date
            when matched then update set loads = existing.loads + new.loads
            when not matched then insert (date, loads, loads_built, builds) values (new.date, new.loads, 0, 0)""",
            [day, int(day in touched)],
        )


def days_in(connection: duckdb.DuckDBPyConnection, query: str) -> set[date]:
    """The dates in the only column of `query`."""
    return {day for (day,) in connection.execute(query).fetchall()}


def fetch_counts(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: list[object] | None = None
) -> tuple[int, ...]:
    """The counts in the only row of `query`."""
    (row,) = connection.execute(query, parameters or []).fetchall()  # fetchone would leave the connection in use
    return row


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Generator[None]:
    """Runs the block in one transaction."""
    connection.execute("begin transaction")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with suppress(duckdb.Error):  # a failed commit has already rolled back
            connection.execute("rollback")
        raise


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, rows: pa.RecordBatchReader | pa.Table) -> Generator[None]:
    """Registers `rows` as the table `incoming` while the block runs. An error in the block is raised even if
    unregistering fails after it."""
    connection.register("incoming", rows)
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # the transaction has been aborted by the error
            connection.unregister("incoming")
        raise
    connection.unregister("incoming")


_REJECTS = f"{SCHEMA}.ai_audit_rejects"


def reject_arrived_duplicates(connection: duckdb.DuckDBPyConnection, window: DayWindow) -> None:
    """Marks duplicates in `arrived`: those among its rows, and rows that were rejected before because a later day has
    their id, as long as it has."""
    reject_duplicates_among_arrived(connection)
    known = f"select source_id, row_hash from {_REJECTS} where reject_day = ? and reason = 'duplicate_id'"
    (rejected_before,) = fetch_counts(connection, f"select count(*) from ({known})", [window.day])
    if rejected_before:
        connection.execute(
            f"""update arrived set reject_reason = 'duplicate_id'
            from ({known}) known
            where arrived.reject_reason is null
                and arrived.id = known.source_id and arrived.row_hash = known.row_hash
                and arrived.id in (
                    select id from {RAW} where not ({of_its_day(window)}) and created_at > arrived.created_at
                )""",
            [window.day],
        )


def reject_duplicates_among_arrived(connection: duckdb.DuckDBPyConnection) -> None:
    """Marks duplicates in `arrived`. A source without a primary key may have an id twice: the newest row stays, the
    others are rejected."""
    (duplicates,) = fetch_counts(
        connection,
        """select count(*) from (
            select id from arrived where reject_reason is null group by id having count(*) > 1
        )""",
    )
    if duplicates:
        connection.execute("""
            update arrived set reject_reason = 'duplicate_id'
            from (
                select rowid as row, row_number() over (
                    partition by id order by created_at desc, row_hash desc, rowid
                ) as nth
                from arrived where reject_reason is null
            ) ranked
            where arrived.rowid = ranked.row and nth > 1
        """)


def counted_by_reason(connection: duckdb.DuckDBPyConnection) -> tuple[int, dict[str, int]]:
    """The number of rows in `arrived`, and of rejected rows by reason."""
    reasons = connection.execute(
        "select reject_reason, count(*) from arrived group by reject_reason order by reject_reason"
    ).fetchall()
    return sum(count for _, count in reasons), {reason: count for reason, count in reasons if reason is not None}


def reject_duplicates(connection: duckdb.DuckDBPyConnection, sync_id: str, mode: str, synced_at: datetime) -> Load:
    """Rejects as `duplicate_id` every row whose id a newer row of another day has. The diff keeps the old versions."""
    connection.execute(f"""
        create or replace temp table duplicates as
        select * from {RAW} where id in (select id from {RAW} group by id having count(*) > 1)
        qualify row_number() over (partition by id order by created_at desc, row_hash desc) > 1
    """)
    connection.execute(
        f"""insert into {SCHEMA}.ai_audit_repair_diff
        select ?, ?, ?, 'gone', id, created_at, {AS_JSON.format("duplicates")}, null from duplicates""",
        [sync_id, synced_at, mode],
    )
    connection.execute(
        f"""insert into {_REJECTS} by name
        select cast(created_at as date) as reject_day, 'duplicate_id' as reason, id as source_id,
            created_at::varchar as created_at_text, created_at, row_hash, 1 as row_count,
            ?::timestamptz as first_seen_at, ?::timestamptz as last_seen_at
        from duplicates""",
        [synced_at, synced_at],
    )
    connection.execute(
        f"delete from {RAW} existing using duplicates"
        " where existing.id = duplicates.id and existing.created_at = duplicates.created_at"
    )
    days = days_in(connection, "select distinct cast(created_at as date) from duplicates")
    (rejected_rows,) = fetch_counts(connection, "select count(*) from duplicates")
    count_loads(connection, days, days)
    connection.execute("drop table duplicates")
    return Load(LoadCounts(removed=rejected_rows, rejected={"duplicate_id": rejected_rows}), tuple(sorted(days)))


def write_rejects(connection: duckdb.DuckDBPyConnection, window: DayWindow, options: LoadOptions) -> None:
    """Replaces the known rejects of the part that was read by the rejected rows of `arrived`, so that reading a row
    again never counts it twice. Their `first_seen_at` is kept.

    The part is the window, plus all rows of its day without a usable time.
    """
    read_again = "reject_day is not distinct from ?"
    if window.day is not None:
        read_again += f" and (created_at is null or ({inside(window)}))"
    known = f"(select * from {_REJECTS} where {read_again})"
    (rejected_or_known,) = fetch_counts(
        connection,
        f"select (select count(*) from arrived where reject_reason is not null) + (select count(*) from {known})",
        [window.day],
    )
    if not rejected_or_known:
        return
    connection.execute(
        f"""create or replace temp table new_rejects as
        with rejected as (
            select reject_reason as reason, id as source_id,
                coalesce(created_at_text, created_at::varchar) as time_text, created_at, row_hash, count(*) as row_count
            from arrived where reject_reason is not null group by all
        ), known as (
            select reason, source_id, row_hash, min(first_seen_at) as first_seen_at
            from {known} group by all
        )
        select cast(? as date) as reject_day, rejected.reason, rejected.source_id,
            rejected.time_text as created_at_text, rejected.created_at, rejected.row_hash,
            rejected.row_count, coalesce(known.first_seen_at, ?) as first_seen_at, ? as last_seen_at
        from rejected left join known on known.reason = rejected.reason
            and known.row_hash = rejected.row_hash
            and known.source_id is not distinct from rejected.source_id""",
        [window.day, window.day, options.synced_at, options.synced_at],
    )
    connection.execute(f"delete from {_REJECTS} where {read_again}", [window.day])
    connection.execute(f"insert into {_REJECTS} by name select * from new_rejects")
    connection.execute("drop table new_rejects")


_COLUMNS = ", ".join(RAW_COLUMNS)

# Rows of a drill are loaded with their own history and deleted again, which is not a repair.
_NO_DRILL = "drill_id is null"

_DISCREPANCIES = f"{SCHEMA}.ai_audit_discrepancies"


class NotAllNewError(Exception):
    """A span that was expected to be new and valid has a rejected row or a duplicate id."""


def insert_new(connection: duckdb.DuckDBPyConnection, batch: ExtractBatch, span: DayWindow) -> Load:
    """Inserts the rows of whole days without any rows yet, in one stream, in the caller's transaction.

    Raises NotAllNewError if a row is rejected or an id is duplicated. The caller must roll back then.
    """
    where = inside(span)
    (loaded_before,) = fetch_counts(connection, f"select count(*) from {RAW} where {where}")
    if loaded_before:  # a micro-batch ran in between
        raise NotAllNewError
    counted = _CountingReader(batch.rows)
    with registered(connection, counted.reader()):
        connection.execute(
            f"insert into {RAW} ({_COLUMNS}) select {_COLUMNS} from ({batch.normalizing_sql})"
            " where reject_reason is null"
        )
    loaded, ids = fetch_counts(connection, f"select count(*), count(distinct id) from {RAW} where {where}")
    if loaded != counted.rows or ids != loaded:
        raise NotAllNewError
    days = days_in(connection, f"select distinct cast(created_at as date) from {RAW} where {where}")
    count_loads(connection, days, days)
    return Load(LoadCounts(read=loaded, added=loaded), tuple(sorted(days)))


class _CountingReader:
    """A reader that counts its rows."""

    def __init__(self, rows: pa.RecordBatchReader) -> None:
        self._source = rows
        self.rows = 0

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self._source.schema, self._batches())

    def _batches(self) -> Generator[pa.RecordBatch]:
        for batch in self._source:
            self.rows += batch.num_rows
            yield batch


def replace_workspaces(
    connection: duckdb.DuckDBPyConnection, batch: ExtractBatch | None, options: LoadOptions
) -> WorkspacesLoad:
    """Replaces all rows of ai_audit_workspaces by those of `batch`, unless too many are missing, in the caller's
    transaction."""
    table, columns = f"{SCHEMA}.ai_audit_workspaces", ", ".join(WORKSPACE_COLUMNS)
    connection.execute(f"create or replace temp table found as select {columns} from {table} where false")
    if batch is not None:
        with registered(connection, batch.rows):
            connection.execute(f"insert into found select {columns} from ({batch.normalizing_sql})")
    found, loaded, missing = fetch_counts(
        connection,
        f"""select (select count(*) from found), count(*),
            count(*) filter (where workspace_id not in (select workspace_id from found)) from {table}""",
    )
    is_held = options.limit is not None and (options.limit.is_lost(loaded - missing, loaded))
    if is_held:
        _write_discrepancy(connection, "ai_audit_workspaces", None, "removal_held", options, missing, (found, loaded))
    else:
        _delete_held_removal(connection, "ai_audit_workspaces", None)
        connection.execute(f"delete from {table}; insert into {table} ({columns}) select {columns} from found")
    connection.execute("drop table found")
    return WorkspacesLoad(loaded, missing) if is_held else WorkspacesLoad(found)


def record_differences(
    connection: duckdb.DuckDBPyConnection,
    differing: Mapping[date, tuple[int, int]],
    window: DayWindow,
    options: LoadOptions,
) -> None:
    """Records the days that differ, with the row counts of source and warehouse, and deletes the records
    of all other days of the window, in the caller's transaction."""
    for day, rows in differing.items():
        _write_discrepancy(connection, "ai_audit_logs", day, "rows_differ", options, abs(rows[0] - rows[1]), rows)
    stays = ", ".join(f"date '{day.isoformat()}'" for day in differing)
    connection.execute(
        f"delete from {_DISCREPANCIES} where kind = 'rows_differ' and date >= ? and date < ?"
        + (f" and date not in ({stays})" if stays else ""),
        [window.start.date(), window.end.date()],
    )


def _write_discrepancy(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    day: date | None,
    kind: DiscrepancyKind,
    options: LoadOptions,
    count: int,
    rows: tuple[int, int],
) -> None:
    """Records that `count` rows differ. `rows` are the numbers of rows at the source and in the warehouse. Keeps
    `first_seen_at`."""
    connection.execute(
        f"""merge into {_DISCREPANCIES} existing
        using (select ? as table_name, ?::date as date, ? as kind, ?::bigint as row_count,
            ?::bigint as source_rows, ?::bigint as warehouse_rows, ?::timestamptz as seen_at, ? as sync_id) found
        on existing.table_name = found.table_name and existing.date is not distinct from found.date
            and existing.kind = found.kind
        when matched then update set row_count = found.row_count, source_rows = found.source_rows,
            warehouse_rows = found.warehouse_rows, last_seen_at = found.seen_at, sync_id = found.sync_id
        when not matched then insert values (found.table_name, found.date, found.kind, found.row_count,
            found.source_rows, found.warehouse_rows, found.seen_at, found.seen_at, found.sync_id)""",
        [table, day, kind, count, *rows, options.synced_at, options.sync_id],
    )


def _delete_held_removal(connection: duckdb.DuckDBPyConnection, table: str, day: date | None) -> None:
    """Deletes the record of a held removal, for a day or for a table without days."""
    connection.execute(
        f"delete from {_DISCREPANCIES}"
        " where kind = 'removal_held' and table_name = ? and date is not distinct from ?::date",
        [table, day],
    )


def load_rows(
    connection: duckdb.DuckDBPyConnection, batch: ExtractBatch, window: DayWindow, options: LoadOptions
) -> Load:
    """Upserts the rows by id into the raw rows of `window`, in the caller's transaction.

    Only rows whose hash differs are written. The bounds are literals, so that row groups of other days are skipped (5k
    rows into 10M: 28 ms instead of 124 ms).
    """
    with registered(connection, batch.rows):
        connection.execute(f"create or replace temp table arrived as {batch.normalizing_sql}")
    reject_arrived_duplicates(connection, window)
    read, rejected = counted_by_reason(connection)
    connection.execute(f"""
        create or replace temp table change as
        select arrived.*, existing.row_hash as existing_hash
        from arrived left join (select id, row_hash from {RAW} where {of_its_day(window)}) existing using (id)
        where reject_reason is null and (existing.id is null or existing.row_hash <> arrived.row_hash)
    """)
    added, changed = fetch_counts(
        connection, "select count(*) - count(existing_hash), count(existing_hash) from change"
    )
    may_remove = window.day is not None and (options.replace or rejected)
    removed, removed_live, held = _remove_deleted(connection, window, options, read) if may_remove else (0, 0, 0)
    touched = days_in(connection, "select distinct cast(created_at as date) from change")
    if changed:
        touched |= _replace_changed(connection, window, options)
    if options.late_before is not None and added:
        _record_late(connection, options, options.late_before)
    if added or changed:
        connection.execute(f"insert into {RAW} ({_COLUMNS}) select {_COLUMNS} from change order by created_at")
    if removed and window.day is not None:
        touched.add(window.day)
    write_rejects(connection, window, options)
    count_loads(connection, touched | ({window.day} if window.day and read else set()), touched)
    connection.execute("drop table arrived; drop table change")
    return Load(LoadCounts(read, added, changed, removed, rejected, held), tuple(sorted(touched)), removed_live)


def _remove_deleted(
    connection: duckdb.DuckDBPyConnection, window: DayWindow, options: LoadOptions, read: int
) -> tuple[int, int, int]:
    """Removes from the window the rows that the source no longer has (unless it is a delta), and those that are now
    rejected. Beyond the limit it removes only rows of drills.

    Returns how many rows were removed, how many of them belonged to no drill, and how many removals are held.
    """
    deleted = (
        f"select id from {RAW} where {inside(window)}"
        " and id not in (select id from arrived where reject_reason is null)"
    )
    if not options.replace:
        deleted += " and id in (select id from arrived where reject_reason is not null)"
    count, live, of = fetch_counts(
        connection,
        f"""select count(*) filter (where id in ({deleted})), count(*) filter (where id in ({deleted}) and {_NO_DRILL}),
            count(*) filter (where {_NO_DRILL})
        from {RAW} where {inside(window)}""",
    )
    is_held = options.limit is not None and options.limit.holds(live, of)
    if is_held:
        _write_discrepancy(connection, "ai_audit_logs", window.day, "removal_held", options, live, (read, of))
        deleted += f" and not ({_NO_DRILL})"
        count -= live
    elif options.replace:
        _delete_held_removal(connection, "ai_audit_logs", window.day)
    if count:
        connection.execute(
            f"""insert into {SCHEMA}.ai_audit_repair_diff
            select ?, ?, ?, 'gone', id, created_at, {AS_JSON.format("existing")}, null
            from {RAW} existing where {inside(window)} and id in ({deleted}) and {_NO_DRILL}""",
            [options.sync_id, options.synced_at, options.mode],
        )
        connection.execute(f"delete from {RAW} where {inside(window)} and id in ({deleted})")
    return (count, 0, live) if is_held else (count, live, 0)


def _replace_changed(connection: duckdb.DuckDBPyConnection, window: DayWindow, options: LoadOptions) -> set[date]:
    """Copies the old versions to the diff and deletes them from raw. Returns their days."""
    old_versions = f"(select * from {RAW} where {of_its_day(window)}) existing join change using (id)"
    connection.execute(
        f"""insert into {SCHEMA}.ai_audit_repair_diff
        select ?, ?, ?, 'changed', id, change.created_at, {AS_JSON.format("existing")}, {AS_JSON.format("change")}
        from {old_versions} where change.existing_hash is not null and change.{_NO_DRILL}""",
        [options.sync_id, options.synced_at, options.mode],
    )
    days = days_in(connection, f"select distinct cast(existing.created_at as date) from {old_versions}")
    connection.execute(
        f"""delete from {RAW} where {of_its_day(window)}
        and id in (select id from change where existing_hash is not null)"""
    )
    return days


def _record_late(connection: duckdb.DuckDBPyConnection, options: LoadOptions, late_before: datetime) -> None:
    connection.execute(
        f"""insert into {SCHEMA}.ai_audit_repair_diff
        select ?, ?, ?, 'added', id, created_at, null, {AS_JSON.format("change")}
        from change where existing_hash is null and created_at < ? and {_NO_DRILL}""",
        [options.sync_id, options.synced_at, options.mode, late_before],
    )
