"""The statements that bring staged rows into raw, and their like; text, and nothing else.

Each reads raw between literal bounds on created_at, so that BigQuery opens the partitions it needs and no others; the
table refuses statements without them.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from audit_assets.warehouse.bigquery.client import Place
from audit_assets.warehouse.bigquery.jobs import literal
from audit_assets.warehouse.bigquery.schema import TYPES
from audit_assets.warehouse.protocol import DayWindow, LoadTerms, SyncRun, start_of
from audit_assets.warehouse.schema import RAW_COLUMNS, SYNC_STATE_COLUMNS

_COLUMNS = ", ".join(f"`{name}`" for name in RAW_COLUMNS)
_NO_DRILL = "drill_id is null"  # a drill's rows come, are loaded with history of their own, and go: that is no repair

# Every partition there may be; the literal bound that require_partition_filter asks for.
ALL_TIME = "created_at >= timestamp '1900-01-01 00:00:00+00'"


@dataclass(frozen=True)
class Planned:
    """What a load will do, in rows; and how many rejects are known of the part that was read."""

    added: int
    changed: int
    removed: int
    known_rejects: int


def inside(window: DayWindow, of: str = "") -> str:
    """The predicate for raw rows in the window; `of` is the name the table goes by, with its point."""
    return f"{of}created_at >= {literal(window.start)} and {of}created_at < {literal(window.end)}"


def of_its_day(window: DayWindow, of: str = "") -> str:
    """The predicate for raw rows that may be earlier versions of the window's rows: those of its whole day."""
    return inside(_whole_day(window), of) if window.day is not None else f"{ALL_TIME} and false"


def between(first: date, last: date, of: str = "") -> str:
    """The predicate for raw rows of the UTC days from `first` to `last`."""
    return inside(DayWindow(None, start_of(first), start_of(last + timedelta(days=1))), of)


def _whole_day(window: DayWindow) -> DayWindow:
    assert window.day is not None  # rows outside all days have no day to be on
    return DayWindow(window.day, start_of(window.day), start_of(window.day + timedelta(days=1)))


def as_json(row: str) -> str:
    """A whole raw row as JSON text; `row` is the name it goes by."""
    return f"to_json_string(struct({', '.join(f'{row}.`{name}` as `{name}`' for name in RAW_COLUMNS)}))"


class LoadStatements:
    """Those of one load: rows staged in `staging` into the part of raw that `window` bounds."""

    def __init__(self, place: Place, staging: str, window: DayWindow, terms: LoadTerms) -> None:
        self._raw, self._rejects = place.table("ai_audit_logs"), place.table("ai_audit_rejects")
        self._diff, self._days = place.table("ai_audit_repair_diff"), place.table("ai_audit_days")
        self._state = place.table("ai_audit_sync_state")
        self._staging = place.table(staging)
        self._window, self._terms = window, terms

    def plan(self, refused: int) -> str:
        """One row: added, changed, removed, known rejects; `refused` of the staged rows have a reason."""
        return f"""
            select
                countif(held.id is null),
                countif(held.row_hash != arrived.row_hash),
                {self._count_of_gone(refused)},
                (select count(*) from {self._rejects} where {self._read_again()})
            from ({self._good()}) as arrived
            left join (select id, row_hash from {self._raw} where {of_its_day(self._window)}) as held
                on arrived.id = held.id
        """

    def commit(self, planned: Planned, refused: int, read: int, run: SyncRun) -> str:
        """The whole load as one transaction, with the run's row."""
        return transaction([*self._changes(planned, refused), *self._counted(planned, read), *self._recorded(run)])

    def commit_new(self, days: tuple[date, ...], run: SyncRun) -> str:
        """The same for whole days that hold nothing yet and staged rows that are all good."""
        insert = f"insert into {self._raw} ({_COLUMNS}) select {_COLUMNS} from {self._staging}"
        return transaction([insert, counted_days(self._days, days, days), *self._recorded(run)])

    def _changes(self, planned: Planned, refused: int) -> Iterator[str]:
        if planned.removed:
            yield self._record(
                "gone",
                f"held.id, held.created_at, {as_json('held')}, null",
                f"{self._raw} as held where {inside(self._window, 'held.')}"
                f" and held.id in ({self._gone()}) and held.{_NO_DRILL}",
            )
        if planned.changed:
            yield self._record(
                "changed",
                f"held.id, arrived.created_at, {as_json('held')}, {as_json('arrived')}",
                f"(select * from {self._raw} where {of_its_day(self._window)}) as held"
                f" inner join ({self._good()}) as arrived on held.id = arrived.id"
                f" where held.row_hash != arrived.row_hash and arrived.{_NO_DRILL}",
            )
        if planned.added and self._terms.late_before is not None:
            yield self._record(
                "added",
                f"arrived.id, arrived.created_at, null, {as_json('arrived')}",
                f"({self._good()}) as arrived left join (select id from {self._raw} where {of_its_day(self._window)})"
                f" as held on arrived.id = held.id where held.id is null"
                f" and arrived.created_at < {literal(self._terms.late_before)} and arrived.{_NO_DRILL}",
            )
        if planned.added or planned.changed or planned.removed:
            yield from self._replaced_day() if self._terms.replace and self._window.day else self._merged(planned)
        if refused or planned.known_rejects:
            yield from self._rewritten_rejects()

    def _merged(self, planned: Planned) -> Iterator[str]:
        """A micro-batch: only rows whose hash differs are written."""
        if planned.removed:
            yield f"delete from {self._raw} where {inside(self._window)} and id in ({self._gone()})"
        if planned.added or planned.changed:
            columns = [name for name in RAW_COLUMNS if name != "id"]
            # Only where a row changed: BigQuery bills a merge that may update for every column of the partition.
            update = (
                f"""when matched and held.row_hash != arrived.row_hash then
                    update set {", ".join(f"`{name}` = arrived.`{name}`" for name in columns)}"""
                if planned.changed
                else ""
            )
            yield f"""
                merge into {self._raw} as held using ({self._good()}) as arrived
                on {of_its_day(self._window, "held.")} and held.id = arrived.id
                {update}
                when not matched then
                    insert ({_COLUMNS}) values ({", ".join(f"arrived.`{name}`" for name in RAW_COLUMNS)})
            """

    def _replaced_day(self) -> Iterator[str]:
        """A repair: the day's partition is written anew as a whole. Rows that did not change stay as they were loaded,
        and so do those of the day that lie outside the window."""
        day = of_its_day(self._window)
        same = f"(select * from {self._raw} where {day})"
        kept = "held.row_hash = arrived.row_hash"
        columns = ", ".join(
            f"if({kept}, held.`{name}`, arrived.`{name}`) as `{name}`" if name == "synced_at" else f"arrived.`{name}`"
            for name in RAW_COLUMNS
        )
        yield f"""
            create or replace temp table replacement as
            select {columns}
            from ({self._good()}) as arrived left join {same} as held on arrived.id = held.id
            union all
            select {_COLUMNS} from {self._raw}
            where {day} and not ({inside(self._window)}) and id not in (select id from ({self._good()}))
        """
        yield f"delete from {self._raw} where {day}"
        yield f"insert into {self._raw} ({_COLUMNS}) select {_COLUMNS} from replacement"

    def _good(self) -> str:
        return f"select {_COLUMNS} from {self._staging} where reject_reason is null"

    def _gone(self) -> str:
        """Ids in the window that the source no longer has, and (in a delta too) that it has but are now refused."""
        good = f"select id from {self._staging} where reject_reason is null"
        gone = f"select id from {self._raw} where {inside(self._window)} and id not in ({good})"
        if not self._terms.replace:
            gone += f" and id in (select id from {self._staging} where reject_reason is not null and id is not null)"
        return gone

    def _count_of_gone(self, refused: int) -> str:
        may_go = self._window.day is not None and (self._terms.replace or refused)
        return f"(select count(*) from ({self._gone()}))" if may_go else "0"

    def _record(self, change: str, values: str, rows: str) -> str:
        terms = self._terms
        return (
            f"insert into {self._diff} (sync_id, recorded_at, mode, `change`, id, created_at, `before`, `after`)"
            f" select '{terms.sync_id}', {literal(terms.synced_at)}, '{terms.mode}', '{change}', {values} from {rows}"
        )

    def _read_again(self) -> str:
        """Rejects of the part that was read: a delta reads its window, and of the rows without a usable time all that
        its day holds."""
        day = self._window.day
        same_day = "reject_day is null" if day is None else f"reject_day = date '{day.isoformat()}'"
        return same_day if self._terms.replace else f"{same_day} and (created_at is null or ({inside(self._window)}))"

    def _rewritten_rejects(self) -> Iterator[str]:
        """Puts the refused rows in place of those known of the part that was read, so that reading a row again never
        counts it twice; when each was first seen is kept."""
        day = self._window.day
        yield f"""
            create or replace temp table refused as
            with now_refused as (
                select reject_reason as reason, id as source_id, created_at_text, created_at, row_hash,
                    count(*) as row_count
                from {self._staging} where reject_reason is not null
                group by reject_reason, id, created_at_text, created_at, row_hash
            ), known as (
                select reason, source_id, row_hash, min(first_seen_at) as first_seen_at
                from {self._rejects} where {self._read_again()} group by reason, source_id, row_hash
            )
            select {"cast(null as date)" if day is None else f"date '{day.isoformat()}'"} as reject_day,
                now_refused.reason, now_refused.source_id, now_refused.created_at_text, now_refused.created_at,
                now_refused.row_hash, now_refused.row_count,
                coalesce(known.first_seen_at, {literal(self._terms.synced_at)}) as first_seen_at,
                {literal(self._terms.synced_at)} as last_seen_at
            from now_refused left join known on known.reason = now_refused.reason
                and known.row_hash = now_refused.row_hash
                and coalesce(known.source_id, '') = coalesce(now_refused.source_id, '')
        """
        columns = (
            "reject_day, reason, source_id, created_at_text, created_at, row_hash, row_count, first_seen_at,"
            " last_seen_at"
        )
        yield f"delete from {self._rejects} where {self._read_again()}"
        yield f"insert into {self._rejects} ({columns}) select {columns} from refused"

    def _counted(self, planned: Planned, read: int) -> Iterator[str]:
        day, moved = self._window.day, planned.added + planned.changed + planned.removed
        if day is not None and (read or moved):
            yield counted_days(self._days, (day,), (day,) if moved else ())

    def _recorded(self, run: SyncRun) -> list[str]:
        return recorded(self._state, run)


def transaction(statements: list[str]) -> str:
    """All of the statements, or none: BigQuery rolls back what a script that fails has begun."""
    return ";\n".join(["begin transaction", *(statement.strip() for statement in statements), "commit transaction"])


def replaced(table: str, staging: str, columns: Iterable[str]) -> list[str]:
    """Puts the staged rows in the place of all that the table holds."""
    listed = ", ".join(f"`{column}`" for column in columns)
    return [f"delete from {table} where true", f"insert into {table} ({listed}) select {listed} from {staging}"]


def recorded(state: str, run: SyncRun) -> list[str]:
    """Writes or rewrites the run's row of ai_audit_sync_state."""
    row = run.row()
    values = ", ".join(_value(row[name], kind) for name, kind in SYNC_STATE_COLUMNS.items())
    return [
        f"delete from {state} where sync_id = '{run.sync_id}'",
        f"insert into {state} ({', '.join(f'`{name}`' for name in SYNC_STATE_COLUMNS)}) values ({values})",
    ]


def counted_days(days: str, seen: tuple[date, ...], touched: tuple[date, ...]) -> str:
    """Puts the days on record, and counts a load for those whose rows it changed."""
    listed = ", ".join(
        f"struct(date '{day.isoformat()}' as date, {int(day in touched)} as loads)" for day in sorted(seen)
    )
    return f"""
        merge into {days} as held using (select date, loads from unnest([{listed}])) as seen on held.date = seen.date
        when matched then update set loads = held.loads + seen.loads
        when not matched then insert (date, loads, loads_built, builds) values (seen.date, seen.loads, 0, 0)
    """


def counted_built(days: str, built: Collection[date]) -> str:
    """Records that the models have read `built`."""
    listed = ", ".join(f"date '{day.isoformat()}'" for day in sorted(built))
    return f"""
        merge into {days} as held using (select date from unnest([{listed}]) as date) as built on held.date = built.date
        when matched then update set loads_built = held.loads, builds = held.builds + 1
        when not matched then insert (date, loads, loads_built, builds) values (built.date, 0, 0, 1)
    """


def text(value: str) -> str:
    """A text as a statement names it."""
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
