"""The SQL statements that load staged rows into raw, and related statements. Pure functions.

Each statement reads raw between literal bounds on created_at, so that BigQuery opens only the partitions it needs. The
table refuses statements without such bounds.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from audit_assets.warehouse.bigquery.client import TableLocation
from audit_assets.warehouse.bigquery.jobs import literal
from audit_assets.warehouse.bigquery.schema import TYPES
from audit_assets.warehouse.protocol import DayWindow, DiscrepancyKind, LoadOptions, SyncRun, start_of
from audit_assets.warehouse.schema import RAW_COLUMNS, SYNC_STATE_COLUMNS

_COLUMNS = ", ".join(f"`{name}`" for name in RAW_COLUMNS)
# Rows of a drill are loaded with their own history and deleted again, which is not a repair.
_NO_DRILL = "drill_id is null"

# Every possible partition; the literal bound that require_partition_filter requires.
ALL_TIME = "created_at >= timestamp '1900-01-01 00:00:00+00'"


@dataclass(frozen=True)
class LoadPlan:
    """What a load will do, in rows. `removed` counts all rows that are missing at the source, `removed_live` those of
    them that belong to no drill, `live_in_window` the rows of no drill in the window, and `known_rejects` the rejects
    already recorded for the part that is read."""

    added: int
    changed: int
    removed: int
    removed_live: int
    live_in_window: int
    known_rejects: int


def inside(window: DayWindow, of: str = "") -> str:
    """The predicate for raw rows in the window; `of` is the table's alias with a dot."""
    return f"{of}created_at >= {literal(window.start)} and {of}created_at < {literal(window.end)}"


def of_its_day(window: DayWindow, of: str = "") -> str:
    """The predicate for raw rows that may be older versions of the window's rows: those of its whole day."""
    return inside(_whole_day(window), of) if window.day is not None else f"{ALL_TIME} and false"


def between(first: date, last: date, of: str = "") -> str:
    """The predicate for raw rows of the UTC days from `first` to `last`."""
    return inside(DayWindow(None, start_of(first), start_of(last + timedelta(days=1))), of)


def _whole_day(window: DayWindow) -> DayWindow:
    assert window.day is not None  # rows outside all days have no day
    return DayWindow(window.day, start_of(window.day), start_of(window.day + timedelta(days=1)))


def as_json(row: str) -> str:
    """A whole raw row as JSON text; `row` is its alias."""
    return f"to_json_string(struct({', '.join(f'{row}.`{name}` as `{name}`' for name in RAW_COLUMNS)}))"


class LoadStatements:
    """The statements of one load of the rows in `staging` into the raw rows of `window`. If the removal is held, only
    rows of drills are removed."""

    def __init__(
        self,
        location: TableLocation,
        staging: str,
        window: DayWindow,
        options: LoadOptions,
        removal_is_held: bool = False,
    ) -> None:
        self._discrepancies, self._removal_is_held = location.table("ai_audit_discrepancies"), removal_is_held
        self._raw, self._rejects = location.table("ai_audit_logs"), location.table("ai_audit_rejects")
        self._diff, self._days = location.table("ai_audit_repair_diff"), location.table("ai_audit_days")
        self._state = location.table("ai_audit_sync_state")
        self._staging = location.table(staging)
        self._window, self._options = window, options

    def plan(self, rejected_rows: int) -> str:
        """One row with the columns of LoadPlan. `rejected_rows` is the number of staged rows with a reject reason."""
        return f"""
            select
                countif(existing.id is null),
                countif(existing.row_hash != arrived.row_hash),
                {self._count_deleted(rejected_rows)},
                {self._count_deleted(rejected_rows, f" and {_NO_DRILL}")},
                (select count(*) from {self._raw} where {inside(self._window)} and {_NO_DRILL}),
                (select count(*) from {self._rejects} where {self._rejects_predicate()})
            from ({self._valid_rows()}) as arrived
            left join (select id, row_hash from {self._raw} where {of_its_day(self._window)}) as existing
                on arrived.id = existing.id
        """

    def commit(self, planned: LoadPlan, rejected_rows: int, read: int, run: SyncRun, ends_hold: bool) -> str:
        """The whole load as one transaction, with the run's row. `ends_hold`: a removal of the day was held and no
        longer is."""
        changes = [*self._changes(planned, rejected_rows), *self._count_loads(planned, read)]
        if self._removal_is_held:
            rows = (read, planned.live_in_window)
            day, options = self._window.day, self._options
            changes.append(
                merge_discrepancy_statement(
                    self._discrepancies, "ai_audit_logs", day, "removal_held", options, planned.removed_live, rows
                )
            )
        elif ends_hold:
            changes.append(delete_held_removal_statement(self._discrepancies, "ai_audit_logs", self._window.day))
        return transaction([*changes, *self._record_run(run)])

    def commit_new(self, days: tuple[date, ...], run: SyncRun) -> str:
        """The same for whole days without any rows yet, and staged rows that are all valid."""
        insert = f"insert into {self._raw} ({_COLUMNS}) select {_COLUMNS} from {self._staging}"
        return transaction([insert, count_loads_statement(self._days, days, days), *self._record_run(run)])

    def _changes(self, planned: LoadPlan, rejected_rows: int) -> Iterator[str]:
        if planned.removed:
            yield self._record(
                "gone",
                f"existing.id, existing.created_at, {as_json('existing')}, null",
                f"{self._raw} as existing where {inside(self._window, 'existing.')}"
                f" and existing.id in ({self._deleted_ids()}) and existing.{_NO_DRILL}",
            )
        if planned.changed:
            yield self._record(
                "changed",
                f"existing.id, arrived.created_at, {as_json('existing')}, {as_json('arrived')}",
                f"(select * from {self._raw} where {of_its_day(self._window)}) as existing"
                f" inner join ({self._valid_rows()}) as arrived on existing.id = arrived.id"
                f" where existing.row_hash != arrived.row_hash and arrived.{_NO_DRILL}",
            )
        if planned.added and self._options.late_before is not None:
            yield self._record(
                "added",
                f"arrived.id, arrived.created_at, null, {as_json('arrived')}",
                f"({self._valid_rows()}) as arrived"
                f" left join (select id from {self._raw} where {of_its_day(self._window)})"
                f" as existing on arrived.id = existing.id where existing.id is null"
                f" and arrived.created_at < {literal(self._options.late_before)} and arrived.{_NO_DRILL}",
            )
        if planned.added or planned.changed or planned.removed:
            yield from self._replace_day() if self._options.replace and self._window.day else self._merge_rows(planned)
        if rejected_rows or planned.known_rejects:
            yield from self._replace_rejects()

    def _merge_rows(self, planned: LoadPlan) -> Iterator[str]:
        """A micro-batch: only rows whose hash differs are written."""
        if planned.removed:
            yield f"delete from {self._raw} where {inside(self._window)} and id in ({self._deleted_ids()})"
        if planned.added or planned.changed:
            columns = [name for name in RAW_COLUMNS if name != "id"]
            # Only if a row changed: BigQuery bills a merge with an update clause for every column of the partition.
            update = (
                f"""when matched and existing.row_hash != arrived.row_hash then
                    update set {", ".join(f"`{name}` = arrived.`{name}`" for name in columns)}"""
                if planned.changed
                else ""
            )
            yield f"""
                merge into {self._raw} as existing using ({self._valid_rows()}) as arrived
                on {of_its_day(self._window, "existing.")} and existing.id = arrived.id
                {update}
                when not matched then
                    insert ({_COLUMNS}) values ({", ".join(f"arrived.`{name}`" for name in RAW_COLUMNS)})
            """

    def _replace_day(self) -> Iterator[str]:
        """A repair: rewrites the day's partition as a whole. Unchanged rows, and rows of the day outside the window,
        keep their values."""
        day = of_its_day(self._window)
        same = f"(select * from {self._raw} where {day})"
        outside = f"not ({inside(self._window)})"
        stays = f"({outside} or {_NO_DRILL})" if self._removal_is_held else outside
        kept = "existing.row_hash = arrived.row_hash"
        columns = ", ".join(
            f"if({kept}, existing.`{name}`, arrived.`{name}`) as `{name}`"
            if name == "synced_at"
            else f"arrived.`{name}`"
            for name in RAW_COLUMNS
        )
        yield f"""
            create or replace temp table replacement as
            select {columns}
            from ({self._valid_rows()}) as arrived left join {same} as existing on arrived.id = existing.id
            union all
            select {_COLUMNS} from {self._raw}
            where {day} and {stays} and id not in (select id from ({self._valid_rows()}))
        """
        yield f"delete from {self._raw} where {day}"
        yield f"insert into {self._raw} ({_COLUMNS}) select {_COLUMNS} from replacement"

    def _valid_rows(self) -> str:
        return f"select {_COLUMNS} from {self._staging} where reject_reason is null"

    def _deleted_ids(self) -> str:
        """Ids in the window that the source no longer has (unless it is a delta), or that are rejected now."""
        good = f"select id from {self._staging} where reject_reason is null"
        deleted = f"select id from {self._raw} where {inside(self._window)} and id not in ({good})"
        if not self._options.replace:
            deleted += f" and id in (select id from {self._staging} where reject_reason is not null and id is not null)"
        return f"{deleted} and not ({_NO_DRILL})" if self._removal_is_held else deleted

    def _count_deleted(self, rejected_rows: int, more: str = "") -> str:
        may_remove = self._window.day is not None and (self._options.replace or rejected_rows)
        return f"(select count(*) from ({self._deleted_ids()}{more}))" if may_remove else "0"

    def _record(self, change: str, values: str, rows: str) -> str:
        options = self._options
        return (
            f"insert into {self._diff} (sync_id, recorded_at, mode, `change`, id, created_at, `before`, `after`)"
            f" select '{options.sync_id}', {literal(options.synced_at)}, '{options.mode}', '{change}', {values}"
            f" from {rows}"
        )

    def _rejects_predicate(self) -> str:
        """The predicate for rejects of the part that was read: the window, plus all rows of its day without a usable
        time."""
        day = self._window.day
        same_day = "reject_day is null" if day is None else f"reject_day = date '{day.isoformat()}'"
        return (
            same_day if self._window.day is None else f"{same_day} and (created_at is null or ({inside(self._window)}))"
        )

    def _replace_rejects(self) -> Iterator[str]:
        """Replaces the known rejects of the part that was read by the rejected rows, so that reading a row again never
        counts it twice. Their `first_seen_at` is kept."""
        day = self._window.day
        yield f"""
            create or replace temp table new_rejects as
            with rejected as (
                select reject_reason as reason, id as source_id, created_at_text, created_at, row_hash,
                    count(*) as row_count
                from {self._staging} where reject_reason is not null
                group by reject_reason, id, created_at_text, created_at, row_hash
            ), known as (
                select reason, source_id, row_hash, min(first_seen_at) as first_seen_at
                from {self._rejects} where {self._rejects_predicate()} group by reason, source_id, row_hash
            )
            select {_day(day)} as reject_day,
                rejected.reason, rejected.source_id, rejected.created_at_text, rejected.created_at,
                rejected.row_hash, rejected.row_count,
                coalesce(known.first_seen_at, {literal(self._options.synced_at)}) as first_seen_at,
                {literal(self._options.synced_at)} as last_seen_at
            from rejected left join known on known.reason = rejected.reason
                and known.row_hash = rejected.row_hash
                and coalesce(known.source_id, '') = coalesce(rejected.source_id, '')
        """
        columns = (
            "reject_day, reason, source_id, created_at_text, created_at, row_hash, row_count, first_seen_at,"
            " last_seen_at"
        )
        yield f"delete from {self._rejects} where {self._rejects_predicate()}"
        yield f"insert into {self._rejects} ({columns}) select {columns} from new_rejects"

    def _count_loads(self, planned: LoadPlan, read: int) -> Iterator[str]:
        day, moved = self._window.day, planned.added + planned.changed + planned.removed
        if day is not None and (read or moved):
            yield count_loads_statement(self._days, (day,), (day,) if moved else ())

    def _record_run(self, run: SyncRun) -> list[str]:
        return record_run_statements(self._state, run)


def transaction(statements: list[str]) -> str:
    """The statements as one transaction. BigQuery rolls it back if the script fails."""
    return ";\n".join(["begin transaction", *(statement.strip() for statement in statements), "commit transaction"])


def replace_rows_statements(table: str, staging: str, columns: Iterable[str]) -> list[str]:
    """Replaces all rows of the table by the staged rows."""
    listed = ", ".join(f"`{column}`" for column in columns)
    return [f"delete from {table} where true", f"insert into {table} ({listed}) select {listed} from {staging}"]


def merge_discrepancy_statement(
    discrepancies: str,
    table: str,
    day: date | None,
    kind: DiscrepancyKind,
    options: LoadOptions,
    count: int,
    rows: tuple[int, int],
) -> str:
    """Records that `count` rows differ. `rows` are the numbers of rows at the source and in the warehouse. Keeps
    `first_seen_at`."""
    at, sync_id = literal(options.synced_at), text(options.sync_id)
    return f"""
        merge into {discrepancies} as existing
        using (select '{table}' as table_name, {_day(day)} as date, '{kind}' as kind, {count} as row_count) as found
        on existing.table_name = found.table_name and existing.kind = found.kind
            and coalesce(existing.date, date '0001-01-01') = coalesce(found.date, date '0001-01-01')
        when matched then update set row_count = found.row_count, source_rows = {rows[0]}, warehouse_rows = {rows[1]},
            last_seen_at = {at}, sync_id = {sync_id}
        when not matched then insert (
            table_name, date, kind, row_count, source_rows, warehouse_rows, first_seen_at, last_seen_at, sync_id
        ) values (
            found.table_name, found.date, found.kind, found.row_count, {rows[0]}, {rows[1]}, {at}, {at}, {sync_id}
        )
    """


def delete_held_removal_statement(discrepancies: str, table: str, day: date | None) -> str:
    """Deletes the record of a held removal, for a day or for a table without days."""
    of_day = "date is null" if day is None else f"date = {_day(day)}"
    return f"delete from {discrepancies} where kind = 'removal_held' and table_name = '{table}' and {of_day}"


def _day(day: date | None) -> str:
    return "cast(null as date)" if day is None else f"date '{day.isoformat()}'"


def record_run_statements(state: str, run: SyncRun) -> list[str]:
    """Inserts or updates the run's row of ai_audit_sync_state."""
    row = run.row()
    values = ", ".join(_value(row[name], kind) for name, kind in SYNC_STATE_COLUMNS.items())
    return [
        f"delete from {state} where sync_id = '{run.sync_id}'",
        f"insert into {state} ({', '.join(f'`{name}`' for name in SYNC_STATE_COLUMNS)}) values ({values})",
    ]


def count_loads_statement(days: str, seen: tuple[date, ...], touched: tuple[date, ...]) -> str:
    """Records the days `seen`, and counts a load for the days `touched`, whose rows changed."""
    listed = ", ".join(
        f"struct(date '{day.isoformat()}' as date, {int(day in touched)} as loads)" for day in sorted(seen)
    )
    return f"""
        merge into {days} as existing using (select date, loads from unnest([{listed}])) as seen
        on existing.date = seen.date
        when matched then update set loads = existing.loads + seen.loads
        when not matched then insert (date, loads, loads_built, builds) values (seen.date, seen.loads, 0, 0)
    """


def mark_built_statement(days: str, built: Collection[date]) -> str:
    """Records that the models have read `built`."""
    listed = ", ".join(f"date '{day.isoformat()}'" for day in sorted(built))
    return f"""
        merge into {days} as existing using (select date from unnest([{listed}]) as date) as built
        on existing.date = built.date
        when matched then update set loads_built = existing.loads, builds = existing.builds + 1
        when not matched then insert (date, loads, loads_built, builds) values (built.date, 0, 0, 1)
    """


def record_builds_statements(
    builds: str, built: Collection[str], models: Collection[str], at: datetime, sync_id: str | None
) -> list[str]:
    """Records the build of the tables `built`, and deletes records of tables that are not in `models`."""
    sync = "cast(null as string)" if sync_id is None else text(sync_id)
    rows = ", ".join(f"({text(table)}, {literal(at)}, {sync})" for table in sorted(built))
    others = ", ".join(text(table) for table in sorted(set(models) - set(built))) or "''"
    return [
        f"delete from {builds} where table_name not in ({others})",
        *([f"insert into {builds} (table_name, built_at, sync_id) values {rows}"] if rows else []),
    ]


def text(value: str) -> str:
    """A string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def _value(value: object, kind: str) -> str:
    if value is None:
        return f"cast(null as {TYPES[kind]})"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return literal(value)
    return text(value) if isinstance(value, str) else repr(value)
