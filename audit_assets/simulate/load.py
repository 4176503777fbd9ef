"""Rows of a Parquet file into the source: what its table can hold goes in, the rest is counted by reason."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psycopg2
import psycopg2.errors
import psycopg2.extensions

from audit_assets.simulate.acceptance import judged
from audit_assets.simulate.parquet import LoadError, frames
from audit_assets.simulate.tables import LOG_COLUMNS, connected, place
from audit_assets.simulate.writing import INSTANT

_STAGING = """
create temp table load_staging (
  n bigint, id text, workflow_id text, capability text, provider text, created_at timestamptz,
  request_metadata text, response_metadata text
) on commit drop;
create temp table load_refused (reason text) on commit drop;
"""
_TARGET = f"insert into ai_audit_logs ({', '.join(LOG_COLUMNS)})"
_INSERT_ALL = f"""
{_TARGET}
select id, workflow_id, capability, provider, created_at, request_metadata::jsonb, response_metadata::jsonb
from load_staging
order by n
on conflict (id) do nothing
"""
# Only for a batch that Postgres refused: it alone knows what its jsonb takes (no \\u0000, no lone surrogates,
# numbers within bounds, some depth), and says so row by row.
_INSERT_EACH = f"""
do $$
declare
  r record;
begin
  for r in select * from load_staging order by n loop
    begin
      {_TARGET}
      values (r.id, r.workflow_id, r.capability, r.provider, r.created_at,
              r.request_metadata::jsonb, r.response_metadata::jsonb)
      on conflict (id) do nothing;
      if not found then
        insert into load_refused values ('duplicate_id');
      end if;
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
      insert into load_refused values (sqlstate);
    end;
  end loop;
end
$$
"""
_REASONS = {
    "duplicate_id": "duplicate_id",
    "22P02": "invalid_json",
    "22P05": "unstorable_character",
    "22003": "number_out_of_range",
    "54001": "nested_too_deep",
    "54000": "too_large",
}
_ROW_AT_FAULT = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.errors.ProgramLimitExceeded,
    psycopg2.errors.StatementTooComplex,
)


@dataclass(frozen=True)
class Rejected:
    """Rows refused for one reason."""

    reason: str
    rows: int


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's rows: read = loaded + all rejected."""

    read: int
    loaded: int
    rejected: tuple[Rejected, ...]


def load_file(url: str, path: Path, progress: Callable[[int], None], naive_timezone: str | None = None) -> LoadReport:
    """Put the rows of `path` into ai_audit_logs, all in one transaction: a load that fails leaves nothing.

    A row is refused where the table cannot hold it: no id, an id that is there already, no instant, text that
    is not JSON. What the table can hold goes in, however odd: finding that out is the sync's task. Times
    without a zone are read in `naive_timezone`, or refused. `progress` hears the rows of each batch.
    Raises LoadError, SourceError.
    """
    read = loaded = 0
    reasons: Counter[str] = Counter()
    with connected(url) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(_STAGING)
            for frame in frames(path):
                rows = judged(frame, naive_timezone)
                refused = rows.drop_nulls("reason")
                reasons.update(dict(refused.group_by("reason").len().iter_rows()))
                loaded += _insert(cursor, rows.filter(pl.col("reason").is_null()), reasons)
                read += len(rows)
                progress(len(rows))
            if loaded:
                cursor.execute("analyze ai_audit_logs")
        except psycopg2.Error as error:
            raise LoadError(f"{path}: {_cause(error, url)}; nothing was loaded") from None
    ordered = tuple(Rejected(reason, rows) for reason, rows in reasons.most_common())
    return LoadReport(read, loaded, ordered)


def _insert(cursor: psycopg2.extensions.cursor, rows: pl.DataFrame, reasons: Counter[str]) -> int:
    buffer = io.BytesIO()
    rows.select("n", *LOG_COLUMNS).write_csv(buffer, include_header=False, datetime_format=INSTANT)
    buffer.seek(0)
    cursor.execute("truncate load_staging, load_refused")
    cursor.copy_expert("copy load_staging from stdin (format csv)", buffer)
    cursor.execute("savepoint batch")
    try:
        cursor.execute(_INSERT_ALL)
        taken = cursor.rowcount
        if taken < len(rows):
            reasons["duplicate_id"] += len(rows) - taken
    except _ROW_AT_FAULT:
        cursor.execute("rollback to savepoint batch")
        cursor.execute(_INSERT_EACH)
        cursor.execute("select reason, count(*) from load_refused group by reason")
        taken = len(rows)
        for reason, count in cursor.fetchall():
            reasons[_REASONS.get(reason, f"refused_{reason}")] += count
            taken -= count
    cursor.execute("release savepoint batch")
    return taken


def _cause(error: psycopg2.Error, url: str) -> str:
    """The cause with its mend. Only the first line: the others may quote a row."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    match error:
        case psycopg2.errors.InvalidColumnReference():
            mend = "ai_audit_logs needs a primary key or unique index on id, by which duplicates are told"
        case psycopg2.errors.UndefinedTable():
            mend = "the source has no table ai_audit_logs: create it, or load into the embedded one"
        case psycopg2.errors.InsufficientPrivilege():
            mend = "loading needs insert on ai_audit_logs and temp on the database: ask for both"
        case psycopg2.errors.DiskFull():
            mend = "make room on the disk of the source and load again"
        case psycopg2.OperationalError():
            mend = "the source went away: start it and load again"
        case _:
            mend = "see its log"
    return f"the source at {place(url)} refused ({said}): {mend}"
