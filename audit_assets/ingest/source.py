"""The application's Postgres, read only: what it holds, how far it is, and its rows as Arrow batches."""

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as postgres
import pyarrow as pa

from audit_assets.ingest.extract import (
    NAIVE_TYPES,
    ZONED_TYPES,
    SourceTable,
    inside,
    literal,
    outside,
    quoted,
    select_rows,
)
from audit_assets.ingest.normalise import Scope
from audit_assets.ingest.policy import SyncPolicy

_SESSION = (
    "set timezone = 'UTC'",
    "set default_transaction_read_only = on",
    "set application_name = 'ai-audit-sync'",
    # Rows are pulled out by workers where the server has them to spare: it lends them only if they look cheap.
    "set parallel_tuple_cost = 0",
)


class SourceError(Exception):
    """The source cannot be read. The message names the cause and the mend, and no password."""


@dataclass(frozen=True)
class SourceFacts:
    """The source at one moment, by its own clock (UTC). `max_created_at` is None where no row has a usable time;
    `oldest_write_seconds` is the age of its oldest open writing transaction."""

    now: datetime
    max_created_at: datetime | None
    oldest_write_seconds: float | None
    sessions_visible: bool


class Source:
    """One connection to the source, for one sync."""

    def __init__(self, connection: Any, policy: SyncPolicy) -> None:
        self._connection = connection
        self._policy = policy
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
        return SourceFacts(now, self._newest(horizon), oldest, visible)

    def _newest(self, horizon: datetime) -> datetime | None:
        column = quoted(self._policy.source.columns.created_at)
        kind = self.table.types[self._policy.source.columns.created_at]
        bound = literal(horizon.astimezone(UTC).isoformat())
        if kind in ZONED_TYPES:
            query = f"select max({column}) from {self.table.name} where {column} < {bound}::timestamptz"
        elif kind in NAIVE_TYPES and self._policy.naive_timezone:
            zone = literal(self._policy.naive_timezone)
            query = (
                f"select (max({column}) at time zone {zone})::timestamptz from {self.table.name}"
                f" where {column} < ({bound}::timestamptz at time zone {zone})"
            )
        else:
            return None
        (newest,) = self._row(query)
        return newest

    def first_day_from(self, start: datetime, end: datetime) -> date | None:
        """The UTC day of the earliest row with `start` <= created_at < `end`, None where there is none.

        For times that are text it cannot be told cheaply: `start`'s own day.
        """
        name = self._policy.source.columns.created_at
        if self.table.types[name] not in ZONED_TYPES:
            return start.date()
        column = quoted(name)
        (first,) = self._row(
            f"select min({column}) from {self.table.name} where {column} >= {literal(start.isoformat())}::timestamptz"
            f" and {column} < {literal(end.isoformat())}::timestamptz"
        )
        return None if first is None else first.date()

    def expected_rows(self, start: datetime, end: datetime) -> int:
        """The planner's guess of the rows with `start` <= created_at < `end`; nothing is read."""
        column = quoted(self._policy.source.columns.created_at)
        ((explained,),) = self._rows(
            f"explain (format json) select 1 from {self.table.name} where {column} >="
            f" {literal(start.isoformat())}::timestamptz and {column} < {literal(end.isoformat())}::timestamptz",
            copy=False,  # explain is no query to COPY from
        )
        return int(json.loads(explained)[0]["Plan"]["Plan Rows"])

    def leading_dates(self) -> tuple[date, ...] | None:
        """For text or naive times, the UTC days their leading dates may fall on; None for times with a zone."""
        name = self._policy.source.columns.created_at
        if self.table.types[name] in ZONED_TYPES:
            return None
        column = f"{quoted(name)}::text"
        found = self._rows(
            f"select distinct left({column}, 10) from {self.table.name}"
            f" where {column} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}'"
        )
        days: set[date] = set()
        for (text,) in found:
            try:
                day = date.fromisoformat(text)
            except ValueError:  # such as 2026-02-31: it is refused on the last true day before it
                day = _last_true_day(text)
            if day is not None and day.year in range(1900, 2200):
                days |= {day - timedelta(days=1), day, day + timedelta(days=1)}
        return tuple(sorted(days))

    def read(self, scope: Scope) -> pa.RecordBatchReader:
        """The scope's rows as `extract` shapes them, streamed."""
        predicate = (
            inside(scope.window, self.table, self._policy)
            if scope.window.day is not None
            else outside(scope.first_day, scope.horizon, self.table, self._policy)
        )
        self._reading = self._connection.cursor()  # kept: the stream ends when its cursor is collected
        self._reading.execute(select_rows(predicate, self.table, self._policy))
        return self._reading.fetch_record_batch()

    def counts_by_hour(self, start: datetime, end: datetime) -> dict[datetime, int]:
        """Rows per UTC hour with `start` <= created_at < `end`."""
        column = quoted(self._policy.source.columns.created_at)
        rows = self._rows(
            f"select date_trunc('hour', {column}), count(*) from {self.table.name}"
            f" where {column} >= {literal(start.isoformat())}::timestamptz"
            f" and {column} < {literal(end.isoformat())}::timestamptz group by 1 order by 1"
        )
        return dict(rows)

    def _describe(self) -> SourceTable:
        name = self._policy.source.table
        parts = ".".join(quoted(part) for part in name.split("."))
        (found,) = self._row(f"select to_regclass({literal(parts)})::text")
        if found is None:
            raise SourceError(
                f"the source has no table {name}, or this role may not see its schema; "
                "name it under source.table in observability/sync.yaml and grant select on it"
            )
        types = dict(
            self._rows(
                "select attname::text, format_type(atttypid, null) from pg_attribute"
                f" where attrelid = to_regclass({literal(parts)}) and attnum > 0 and not attisdropped"
            )
        )
        columns = self._policy.source.columns
        for field in (
            "id", "workflow_id", "capability", "provider", "created_at", "request_metadata", "response_metadata",
        ):  # fmt: skip
            if getattr(columns, field) not in types:
                raise SourceError(
                    f"the source's table {name} has no column {getattr(columns, field)!r} for {field}; "
                    f"it has {', '.join(sorted(types))}. Map it under source.columns in observability/sync.yaml"
                )
        return SourceTable(parts, types)

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


def _last_true_day(text: str) -> date | None:
    try:
        first = date.fromisoformat(f"{text[:7]}-01")
    except ValueError:
        return None
    return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


@contextmanager
def open_source(url: str, policy: SyncPolicy) -> Generator[Source]:
    """A connection that is closed at exit. Every database error inside comes out as SourceError, redacted."""
    try:
        with postgres.connect(url, autocommit=True) as connection:
            yield Source(connection, policy)
    except adbc_driver_manager.Error as error:
        raise SourceError(f"the source did not answer as it should: {redacted(str(error), url)}") from None


def redacted(message: str, url: str) -> str:
    """`message` in one line without the URL or its password, however they are quoted."""
    secrets = {url, url.partition("://")[2]}
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    if password:
        secrets |= {password, unquote(password)}
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        message = message.replace(secret, "***")
    message = re.sub(r"password=\S+", "password=***", message)
    return " ".join(message.split())[:500]
