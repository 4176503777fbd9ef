"""Reads the application's Postgres, read-only: its state, and its rows as Arrow batches."""

import json
import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from audit_assets.clock import Clock
from audit_assets.ingest.documents import read_documents
from audit_assets.ingest.extract import (
    NAIVE_TYPES,
    ZONED_TYPES,
    SourceTable,
    inside,
    instant_expression,
    literal,
    outside,
    quoted,
    select_digests,
    select_rows,
    select_workspaces,
)
from audit_assets.ingest.normalize import Scope, workspaces_sql
from audit_assets.ingest.policy import SyncPolicy, parts_of
from audit_assets.ingest.source_connection import SourceConnection, SourceError
from audit_assets.warehouse.protocol import DayWindow, ExtractBatch, HourDigest, Mode

RunQuery = Callable[[str], list[tuple[Any, ...]]]

_TIMES = ("created_at", "last_accessed_at")
_DOCUMENTS = ("request_metadata", "response_metadata")

# pg_type.typcategory and typtype.
_STRING, _ARRAY = "S", "A"
_OF_PARTS = {"c": "a row", "r": "a range", "m": "a range"}

_DAY = timedelta(days=1)


def describe_table(run_query: RunQuery, name: str, columns: Mapping[str, str], setting: str) -> SourceTable:
    """The relation `name` (with its schema before a dot) from the catalog; domains are resolved to their base type.

    `columns` maps each field to the column it needs, `setting` is the key in observability/sync.yaml that names them.
    Raises SourceError if the relation or a column is missing, or if a column's type cannot be read as its field.
    """
    names = parts_of(name)
    relation = ".".join(map(quoted, names))
    ((found,),) = run_query(f"select to_regclass({literal(relation)})::text")
    if found is None:
        dotted = f'; a table with a dot in its name is quoted there: "{name}"' if len(names) == 2 else ""
        raise SourceError(
            f"the source has no table {name}, or this role may not see its schema; "
            f"name it under {setting}.table in observability/sync.yaml and grant select on it{dotted}"
        )
    rows = run_query(
        f"""with recursive resolved as (
            select attname::text as name, atttypid as type from pg_attribute
            where attrelid = to_regclass({literal(relation)}) and attnum > 0 and not attisdropped
            union all
            select resolved.name, t.typbasetype from resolved join pg_type t on t.oid = resolved.type
            where t.typtype = 'd'
        )
        select resolved.name, format_type(t.oid, null), t.typcategory::text, t.typtype::text
        from resolved join pg_type t on t.oid = resolved.type where t.typtype <> 'd'"""
    )
    kinds = {column: (kind, category, form) for column, kind, category, form in rows}
    for field, column in columns.items():
        if column not in kinds:
            raise SourceError(
                f"the source's table {name} has no column {column!r} for {field}; "
                f"it has {', '.join(sorted(kinds))}. Map it under {setting}.columns in observability/sync.yaml"
            )
        problem = _type_problem(field, column, *kinds[column])
        if problem is not None:
            raise SourceError(
                f"the source's table {name} has for {field} the column {column!r} of {kinds[column][0]}, {problem}; "
                f"name another column under {setting}.columns in observability/sync.yaml, or a view that converts it"
            )
    return SourceTable(relation, {column: kind for column, (kind, _, _) in kinds.items()})


def _type_problem(field: str, column: str, kind: str, category: str, form: str) -> str | None:
    """Why a column of this type cannot be read as the field; None if it can."""
    if field in _TIMES:
        if kind in (*ZONED_TYPES, *NAIVE_TYPES) or category == _STRING:
            return None
        if category == "N":
            return f"a number whose unit is not known (to_timestamp({column} / 1000.0) converts milliseconds)"
        return "which is not a time"
    if field in _DOCUMENTS:
        return None if kind in ("jsonb", "json") or category == _STRING else "which is not JSON"
    if category == _ARRAY:
        return "a list"
    return _OF_PARTS.get(form)


@dataclass(frozen=True)
class SourceFacts:
    """The state of the source at one moment, by its own clock (UTC).

    `max_created_at` is None if no row has a usable time, or if times are text. `oldest_write_seconds` is the age of the
    oldest open writing transaction. `clock_skew_seconds` is how far the source's clock is ahead of the reader's, or
    below zero how far behind. `replay_lag_seconds` is how far a replica is behind its primary; None for a primary, and
    if unknown.
    """

    now: datetime
    max_created_at: datetime | None
    times_are_text: bool
    oldest_write_seconds: float | None
    sessions_visible: bool
    clock_skew_seconds: float = 0.0
    is_replica: bool = False
    replay_lag_seconds: float | None = None

    def latest_watermark(self, tolerance: timedelta) -> datetime:
        """The latest allowed watermark: the earlier of the source's now and the reader's now plus `tolerance`."""
        return min(self.now, self.now - timedelta(seconds=self.clock_skew_seconds) + tolerance)


# A replica's lag. While it receives and has replayed everything it received, the lag is 0: an old last transaction only
# means that the primary is idle. Without a WAL receiver the primary's state is unknown.
_REPLAY_LAG = """select
    case
        when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() and exists (select from pg_stat_wal_receiver) then 0.0
        else extract(
            epoch from clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time())
        )::float8
    end"""


class Source:
    """The source, as one sync reads it. Its methods raise SourceError."""

    def __init__(
        self,
        connection: SourceConnection,
        policy: SyncPolicy,
        fixed_now: datetime | None = None,
        reader_now: Callable[[], datetime] = Clock(),  # noqa: B008 - a frozen value
    ) -> None:
        self._reader_now = reader_now
        self._connection = connection
        self._policy = policy
        self._fixed_now = fixed_now
        self._failure: SourceError | None = None
        self.table = self._describe()

    def transaction(self) -> AbstractContextManager[None]:
        """One transaction for the short queries in the block, which saves one or two round trips per query."""
        return self._connection.transaction()

    @contextmanager
    def failures(self) -> Generator[None]:
        """Raises an error that broke a stream inside the block as the source's failure, not as the stream reader's."""
        try:
            yield
        except Exception:
            failure, self._failure = self._failure, None
            if failure is None:
                raise
            raise failure from None

    def facts(self) -> SourceFacts:
        """The source's current state."""
        now, skew = self._clock()
        horizon = now + self._policy.future_tolerance
        visible, is_replica = self._row(
            "select pg_has_role(current_user, 'pg_read_all_stats', 'usage'), pg_is_in_recovery()"
        )
        (oldest,) = self._row(
            """select extract(epoch from max(clock_timestamp() - xact_start))::float8 from pg_stat_activity
            where backend_xid is not null and pid <> pg_backend_pid() and datname = current_database()"""
        )
        lag = self._replay_lag() if is_replica else None
        text = self._instant is None
        newest = None if text else self._newest(horizon)
        return SourceFacts(now, newest, text, oldest, visible, skew, is_replica, lag)

    def _replay_lag(self) -> float | None:
        """Seconds that this replica is behind its primary; None if the server does not report it (Aurora's readers)."""
        try:
            return self._row(_REPLAY_LAG)[0]
        except SourceError:
            return None  # a lost connection also fails at the next query

    def _clock(self) -> tuple[datetime, float]:
        """The source's now, and how many seconds it is ahead of the reader's clock at the middle of the round trip."""
        if self._fixed_now is not None:
            return self._fixed_now, 0.0
        asked_at = self._reader_now()
        (now,) = self._row("select clock_timestamp()")
        middle = asked_at + (self._reader_now() - asked_at) / 2
        return now, round((now - middle).total_seconds(), 3)

    def _newest(self, horizon: datetime) -> datetime | None:
        """The newest created_at between the first day and `horizon`, which excludes infinity and the year 0001."""
        column = f"t.{self._created_at}"
        if self._is_zoned:
            bounds = f"{column} >= {_at(self._first)} and {column} < {_at(horizon)}"
            (newest,) = self._row(f"select max({column}) from {self.table.name} t where {bounds}")
            return newest
        zone = literal(self._policy.naive_timezone or "UTC")
        (newest,) = self._row(
            f"select max({column})::timestamp at time zone {zone} from {self.table.name} t"
            f" where {column} >= ({_at(self._first)} at time zone {zone})"
            f" and {column} < ({_at(horizon)} at time zone {zone})"
        )
        return newest

    def first_day_from(self, start: datetime, end: datetime) -> date | None:
        """The UTC day of the earliest row with `start` <= created_at < `end`, or None. Only for times with a zone."""
        (first,) = self._row(f"select min({self._created_at}) from {self.table.name} where {self._between(start, end)}")
        return None if first is None else first.date()

    def expected_rows(self, start: datetime, end: datetime) -> int:
        """The planner's estimate of the rows with `start` <= created_at < `end`; no rows are read."""
        ((explained,),) = self._rows(
            f"explain (format json) select 1 from {self.table.name} where {self._between(start, end)}",
            copy=False,  # COPY cannot read from explain
        )
        return int(json.loads(explained)[0]["Plan"]["Plan Rows"])

    def leading_dates(self, start: datetime, end: datetime) -> tuple[date, ...] | None:
        """For text or naive times, the UTC days from `start` to `end` that may have rows, by their leading dates; None
        for times with a zone."""
        if self._is_zoned:
            return None
        text = f"{self._created_at}::text"
        first, last = start.date() - _DAY, end.date() + _DAY
        bounds = f'left({text}, 10) collate "C" between {literal(str(first))} and {literal(str(last))}'
        if self.table.types[self._policy.source.columns.created_at] in NAIVE_TYPES:  # an index may serve these
            bounds = f"{self._created_at} >= {literal(str(first))} and {self._created_at} < {literal(str(last + _DAY))}"
        found = self._rows(f"select distinct left({text}, 10) from {self.table.name} where {bounds}")
        return _days_near(text for (text,) in found)

    def days_of(self, ids: Collection[str], start: datetime, end: datetime) -> frozenset[date]:
        """The UTC days from `start` to `end` on which the source has rows with these ids (for text times also the days
        before and after)."""
        listed, shown = ", ".join(map(literal, ids)), self._instant or self._created_at
        found = self._rows(
            f"select distinct left(({shown})::text, 10) from {self.table.name} t"
            f" where {quoted(self._policy.source.columns.id)} in ({listed})"
            f" and {inside(DayWindow(None, start, end), self.table, self._policy)}"
        )
        if self._instant is None:
            return frozenset(_days_near(text for (text,) in found))
        return frozenset(date.fromisoformat(text) for (text,) in found)

    def read(self, scope: Scope) -> pa.RecordBatchReader:
        """Streams the scope's rows, in the columns of `select_rows`."""
        predicate = (
            inside(scope.window, self.table, self._policy)
            if scope.window.day is not None
            else outside(scope.first_day, scope.horizon, self.table, self._policy)
        )
        rows = self._connection.stream(select_rows(predicate, self.table, self._policy))
        return read_documents(pa.RecordBatchReader.from_batches(rows.schema, self._watched(rows)), self._policy)

    def workspaces(self) -> pa.Table:
        """All workspaces, in the columns of `select_workspaces`. Raises SourceError if the source has no such table or
        column, or denies access to it."""
        names = self._policy.source.workspaces
        table = describe_table(self._rows, names.table, names.columns.model_dump(), "source.workspaces")
        try:
            return self._connection.table(select_workspaces(table, self._policy))
        except SourceError as error:
            raise SourceError(
                f"the source's table {names.table} cannot be read: {error}; or grant this role select on it and usage "
                "on its schema",
                error.is_transient,
                error.sqlstate,
            ) from None

    def _watched(self, rows: pa.RecordBatchReader) -> Generator[pa.RecordBatch]:
        """Keeps a failure for `failures`, since the stream's reader reports it as its own error."""
        try:
            yield from rows
        except SourceError as error:
            self._failure = error
            raise

    def counts_by_hour(self, start: datetime, end: datetime) -> dict[datetime, int] | None:
        """Rows per UTC hour with `start` <= created_at < `end`; None if times are text."""
        if self._instant is None:
            return None
        window = inside(DayWindow(None, start, end), self.table, self._policy)
        return dict(
            self._rows(
                f"select date_trunc('hour', {self._instant}), count(*) from {self.table.name} t"
                f" where {window} group by 1 order by 1",
                long_running=True,
            )
        )

    def digests_by_hour(self, start: datetime, end: datetime, values: bool) -> dict[datetime, HourDigest] | None:
        """Rows per UTC hour with `start` <= created_at < `end` and, with `values`, the sum of their hashes (else 0).

        None if the source cannot compute it: for text times, and for values if a document is not jsonb.
        """
        names = self._policy.source.columns
        documents = (names.request_metadata, names.response_metadata)
        if self._instant is None or (values and not all(map(self.table.is_jsonb, documents))):
            return None
        if not values:
            return {hour: HourDigest(rows, 0) for hour, rows in (self.counts_by_hour(start, end) or {}).items()}
        window = inside(DayWindow(None, start, end), self.table, self._policy)
        found = self._rows(select_digests(window, self.table, self._policy), long_running=True)
        return {hour: HourDigest(rows, digest) for hour, rows, digest in found}

    def count_outside(self, horizon: datetime) -> int | None:
        """Rows outside all days: no usable time, before the first day or from `horizon` on. None if times are text."""
        if self._instant is None:
            return None
        beyond = outside(self._policy.first_day, horizon, self.table, self._policy)
        (count,) = self._row(f"select count(*) from {self.table.name} t where {beyond}", long_running=True)
        return count

    def count_between(self, start: datetime, end: datetime) -> int:
        """Rows with `start` <= created_at < `end`; all rows if times are text."""
        if self._instant is None:
            return self.count()
        window = inside(DayWindow(None, start, end), self.table, self._policy)
        (count,) = self._row(f"select count(*) from {self.table.name} t where {window}", long_running=True)
        return count

    def count(self) -> int:
        """All rows, whatever their time."""
        (count,) = self._row(f"select count(*) from {self.table.name}", long_running=True)
        return count

    @property
    def times_are_listed(self) -> bool:
        """Whether a day's rows are found by their leading dates, since there can be no index on the instant."""
        return not self._is_zoned

    @property
    def _created_at(self) -> str:
        return quoted(self._policy.source.columns.created_at)

    @property
    def _is_zoned(self) -> bool:
        return self.table.types[self._policy.source.columns.created_at] in ZONED_TYPES

    @property
    def _instant(self) -> str | None:
        return instant_expression(self.table, self._policy)

    @property
    def _first(self) -> datetime:
        return datetime.combine(self._policy.first_day, time(), UTC)

    def _between(self, start: datetime, end: datetime) -> str:
        return f"{self._created_at} >= {_at(start)} and {self._created_at} < {_at(end)}"

    def _describe(self) -> SourceTable:
        names = self._policy.source
        needed = names.columns.model_dump(exclude={"status"})
        return describe_table(self._rows, names.table, needed, "source")

    def _rows(self, query: str, copy: bool = True, long_running: bool = False) -> list[tuple[Any, ...]]:
        return self._connection.rows(query, copy, long_running)

    def _row(self, query: str, long_running: bool = False) -> tuple[Any, ...]:
        return self._rows(query, long_running=long_running)[0]


def _at(moment: datetime) -> str:
    return literal(moment.astimezone(UTC).isoformat()) + "::timestamptz"


def _days_near(texts: Iterable[str]) -> tuple[date, ...]:
    """The UTC days that texts beginning with a date may fall on, in any time zone."""
    dated = (text for text in texts if re.match("[0-9]{4}-[0-9]{2}-[0-9]{2}", text))
    days = {_day_at_or_before(text) for text in dated if 1900 <= int(text[:4]) < 2200}
    return tuple(sorted({day + shift for day in days for shift in (-_DAY, timedelta(), _DAY)}))


def _day_at_or_before(text: str) -> date:
    """The last valid day not after this text: 2026-02-31 is rejected with the rows of 2026-02-28."""
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    if month < 1:
        return date(year - 1, 12, 31)
    if month > 12:
        return date(year, 12, 31)
    month_end = date(year + month // 12, month % 12 + 1, 1) - _DAY
    return date(year, month, 1) + timedelta(days=min(day, month_end.day) - 1)


@contextmanager
def open_source(
    url: str,
    policy: SyncPolicy,
    fixed_now: datetime | None = None,
    reader_now: Callable[[], datetime] = Clock(),  # noqa: B008 - a frozen value
) -> Generator[Source]:
    """Opens the source and closes its connection at exit. `fixed_now` (UTC) replaces the server's clock, which is
    otherwise compared with `reader_now`.

    Raises SourceError, with secrets redacted, if the source cannot be reached or read.
    """
    connection = SourceConnection(url, policy.source)
    try:
        source = Source(connection, policy, fixed_now, reader_now)
        with source.failures():
            yield source
    finally:
        connection.close()


def newest_created_at(url: str, policy: SyncPolicy) -> datetime | None:
    """The newest usable created_at at the source (UTC), for a sensor that polls often. Raises SourceError."""
    with open_source(url, policy) as source:
        return source.facts().max_created_at


@dataclass(frozen=True)
class WorkspacesRead:
    """The workspaces that were read, or None and the problem. `is_kept`: the source did not answer, so the loaded
    workspaces stay."""

    batch: ExtractBatch | None
    problem: str | None = None
    is_kept: bool = False


def workspaces_are_due(mode: Mode, last_success_at: datetime | None, now: datetime) -> bool:
    """Whether a sync of `mode` that starts at `now` reads the workspaces: every full sync does, and otherwise the first
    sync in a clock hour (UTC). `last_success_at` is the start of the newest successful sync."""
    return mode == "full" or last_success_at is None or _hour(last_success_at) != _hour(now)


def read_workspaces(source: Source, facts: SourceFacts, policy: SyncPolicy, synced_at: datetime) -> WorkspacesRead:
    """All workspaces of the source. If they cannot be read, the problem is returned and the audit rows still load."""
    try:
        table = source.workspaces()
    except SourceError as error:
        if error.is_transient:
            return WorkspacesRead(None, f"workspaces stay as last loaded: {error}", is_kept=True)
        return WorkspacesRead(None, f"no workspaces, so no coverage: {error}")
    sql = workspaces_sql(facts.now + policy.future_tolerance, policy, synced_at)
    return WorkspacesRead(ExtractBatch(table.to_reader(), sql))


def _hour(moment: datetime) -> int:
    return int(moment.timestamp() // 3600)
