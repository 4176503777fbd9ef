"""What the statements on the DuckDB tables share: commits, bounds as literals, versions as JSON, counters of days."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import date

import duckdb
import pyarrow as pa

from audit_assets.warehouse.protocol import DayWindow
from audit_assets.warehouse.schema import RAW_COLUMNS, SCHEMA

RAW = f"{SCHEMA}.ai_audit_logs"

# A whole row as JSON text; {0} is the name the row goes by.
AS_JSON = "to_json(struct_pack(" + ", ".join(f"{name} := {{0}}.{name}" for name in RAW_COLUMNS) + "))::varchar"


def inside(window: DayWindow) -> str:
    """The predicate for raw rows in the window. Literals, so that row groups of other days are skipped."""
    start, end = window.start.isoformat(), window.end.isoformat()
    return f"created_at >= timestamptz '{start}' and created_at < timestamptz '{end}'"


def of_its_day(window: DayWindow) -> str:
    """The predicate for raw rows that may be earlier versions of the window's rows: those of its whole day."""
    if window.day is None:
        return "false"
    start = f"timestamptz '{window.day.isoformat()} 00:00:00+00'"
    return f"created_at >= {start} and created_at < {start} + interval 1 day"


def count_days(connection: duckdb.DuckDBPyConnection, seen: set[date], touched: set[date]) -> None:
    """Puts the days on record, and counts a load for those whose rows it changed."""
    for day in sorted(seen):
        connection.execute(
            f"""merge into {SCHEMA}.ai_audit_days held using (select ?::date as date, ?::bigint as loads) new
            on held.date = new.date
            when matched then update set loads = held.loads + new.loads
            when not matched then insert (date, loads, loads_built, builds) values (new.date, new.loads, 0, 0)""",
            [day, int(day in touched)],
        )


def days_in(connection: duckdb.DuckDBPyConnection, query: str) -> set[date]:
    """The one column of dates that `query` selects."""
    return {day for (day,) in connection.execute(query).fetchall()}


def fetched(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: list[object] | None = None
) -> tuple[int, ...]:
    """The one row of counts that `query` selects."""
    (row,) = connection.execute(query, parameters or []).fetchall()  # fetchone would leave the connection in use
    return row


@contextmanager
def in_one_commit(connection: duckdb.DuckDBPyConnection) -> Generator[None]:
    """All of what the block does, or nothing."""
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
    """`rows` as the table `incoming` while the block runs."""
    connection.register("incoming", rows)
    try:
        yield
    finally:
        connection.unregister("incoming")
