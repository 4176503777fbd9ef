"""The application's Postgres, read only: what it holds, how far it is, and its rows as Arrow batches."""

import json
import re
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as postgres
import pyarrow as pa

from audit_assets.ingest.catalog import described
from audit_assets.ingest.extract import (
    NAIVE_TYPES,
    ZONED_TYPES,
    SourceTable,
    inside,
    instant_expression,
    literal,
    outside,
    quoted,
    select_rows,
    select_workspaces,
)
from audit_assets.ingest.normalise import Scope
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source_error import SourceError, redacted, told
from audit_assets.warehouse.protocol import DayWindow

_DAY = timedelta(days=1)

_SESSION = (
    "set client_encoding = 'UTF8'",
    "set timezone = 'UTC'",
    "set default_transaction_read_only = on",
    "set application_name = 'ai-audit-sync'",
    # Rows are pulled out by workers where the server has them to spare: it lends them only if they look cheap.
    "set parallel_tuple_cost = 0",
)


@dataclass(frozen=True)
class SourceFacts:
    """The source at one moment, by its own clock (UTC). `max_created_at` is None where no row has a usable time, or
    where times are text and it cannot be told; `oldest_write_seconds` is the age of its oldest open writing
    transaction."""

    now: datetime
    max_created_at: datetime | None
    times_are_text: bool
    oldest_write_seconds: float | None
    sessions_visible: bool


class Source:
    """One connection to the source, for one sync. `failure` is what broke a stream that was being read."""

    def __init__(self, connection: Any, policy: SyncPolicy) -> None:
        self._connection = connection
        self._policy = policy
        self.failure: Exception | None = None
        for statement in _SESSION:
            self._run(statement)
        self.table = self._describe()

    def facts(self) -> SourceFacts:
        """Now, the newest usable created_at, and the oldest open write."""
        (now,) = self._row("select clock_timestamp()")
        horizon = now + self._policy.future_tolerance
        (visible,) = self._row("select pg_has_role(current_user, 'pg_read_all_stats', 'usage')")
        (oldest,) = self._row(
            """select extract(epoch from max(clock_timestamp() - xact_start))::float8 from pg_stat_activity
            where backend_xid is not null and pid <> pg_backend_pid() and datname = current_database()"""
        )
        text = self._instant is None
        return SourceFacts(now, None if text else self._newest(horizon), text, oldest, visible)

    def _newest(self, horizon: datetime) -> datetime | None:
        """The newest created_at between the first day and `horizon`: infinity and year 0001 have no place here."""
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
        """The UTC day of the earliest row with `start` <= created_at < `end`, None where there is none; for times
        with a zone only."""
        (first,) = self._row(f"select min({self._created_at}) from {self.table.name} where {self._between(start, end)}")
        return None if first is None else first.date()

    def expected_rows(self, start: datetime, end: datetime) -> int:
        """The planner's guess of the rows with `start` <= created_at < `end`; nothing is read."""
        ((explained,),) = self._rows(
            f"explain (format json) select 1 from {self.table.name} where {self._between(start, end)}",
            copy=False,  # explain is no query to COPY from
        )
        return int(json.loads(explained)[0]["Plan"]["Plan Rows"])

    def leading_dates(self, start: datetime, end: datetime) -> tuple[date, ...] | None:
        """For text or naive times, the UTC days from `start` to `end` that rows may fall on, by their leading dates;
        None for times with a zone."""
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
        """The UTC days from `start` to `end` on which the source has rows with these ids (for text times, the days
        either side too)."""
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
        """The scope's rows as `extract` shapes them, streamed."""
        predicate = (
            inside(scope.window, self.table, self._policy)
            if scope.window.day is not None
            else outside(scope.first_day, scope.horizon, self.table, self._policy)
        )
        self._reading = self._connection.cursor()  # kept: the stream ends when its cursor is collected
        self._reading.execute(select_rows(predicate, self.table, self._policy))
        rows = self._reading.fetch_record_batch()
        return pa.RecordBatchReader.from_batches(rows.schema, self._watched(rows))

    def workspaces(self) -> pa.Table:
        """All workspaces as `extract` shapes them. Raises SourceError where the source has no such table or column, or
        does not give it."""
        names = self._policy.source.workspaces
        try:
            table = described(self._rows, names.table, names.columns.model_dump(), "source.workspaces")
            with self._connection.cursor() as cursor:
                cursor.execute(select_workspaces(table, self._policy))
                return cursor.fetch_arrow_table()
        except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
            raise SourceError(
                f"the source's table {names.table} cannot be read: {redacted(str(error), '')}; mend it, or grant this "
                "role select on it and usage on its schema"
            ) from None

    def _watched(self, rows: pa.RecordBatchReader) -> Generator[pa.RecordBatch]:
        """Whoever reads the stream reports its failure as their own: it is kept here."""
        try:
            yield from rows
        except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
            self.failure = error
            raise

    def counts_by_hour(self, start: datetime, end: datetime) -> dict[datetime, int] | None:
        """Rows per UTC hour with `start` <= created_at < `end`; None where times are text and it cannot be told."""
        if self._instant is None:
            return None
        window = inside(DayWindow(None, start, end), self.table, self._policy)
        return dict(
            self._rows(
                f"select date_trunc('hour', {self._instant}), count(*) from {self.table.name} t"
                f" where {window} group by 1 order by 1"
            )
        )

    def count_outside(self, horizon: datetime) -> int | None:
        """Rows no day holds: no usable time, before the first day, at or after `horizon`; None as above."""
        if self._instant is None:
            return None
        beyond = outside(self._policy.first_day, horizon, self.table, self._policy)
        (count,) = self._row(f"select count(*) from {self.table.name} t where {beyond}")
        return count

    def count(self) -> int:
        """All rows, whatever their time."""
        (count,) = self._row(f"select count(*) from {self.table.name}")
        return count

    @property
    def times_are_listed(self) -> bool:
        """Whether a day's rows are found by their leading dates, since no index on an instant can be."""
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
        return described(self._rows, names.table, needed, "source")

    def _run(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def _rows(self, query: str, copy: bool = True) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": str(copy).lower()})
            cursor.execute(query)
            return cursor.fetchall()

    def _row(self, query: str) -> tuple[Any, ...]:
        return self._rows(query)[0]


def _at(moment: datetime) -> str:
    return literal(moment.astimezone(UTC).isoformat()) + "::timestamptz"


def _days_near(texts: Iterable[str]) -> tuple[date, ...]:
    """The days that texts beginning with a date may belong to, whatever their zone."""
    dated = (text for text in texts if re.match("[0-9]{4}-[0-9]{2}-[0-9]{2}", text))
    days = {_day_at_or_before(text) for text in dated if 1900 <= int(text[:4]) < 2200}
    return tuple(sorted({day + shift for day in days for shift in (-_DAY, timedelta(), _DAY)}))


def _day_at_or_before(text: str) -> date:
    """The last true day whose text is not above this one's: 2026-02-31 is refused with the rows of 2026-02-28."""
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    if month < 1:
        return date(year - 1, 12, 31)
    if month > 12:
        return date(year, 12, 31)
    month_end = date(year + month // 12, month % 12 + 1, 1) - _DAY
    return date(year, month, 1) + timedelta(days=min(day, month_end.day) - 1)


@contextmanager
def open_source(url: str, policy: SyncPolicy) -> Generator[Source]:
    """A connection that is closed at exit. Every database error inside comes out as SourceError, redacted."""
    source: Source | None = None
    try:
        with postgres.connect(_impatient(url), autocommit=True) as connection:
            source = Source(connection, policy)
            yield source
    except adbc_driver_manager.Error as error:
        raise told(error, url) from None
    except Exception:
        if source is None or source.failure is None:
            raise
        raise told(source.failure, url) from None


def _impatient(url: str) -> str:
    """The URL with a limit on connecting and a look whether the server still lives, where it sets none itself."""
    if not url.startswith(("postgresql://", "postgres://")) or "connect_timeout" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}connect_timeout=10&keepalives_idle=30&keepalives_interval=10"


def newest_created_at(url: str, policy: SyncPolicy) -> datetime | None:
    """The newest usable created_at at the source (UTC), for a sensor that asks often. Raises SourceError."""
    with open_source(url, policy) as source:
        return source.facts().max_created_at
