"""Writes synthetic rows to the source: in bulk by day, or live at a rate."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from datetime import datetime

import numpy as np
import polars as pl
import psycopg2.errors
import psycopg2.extensions

from audit_assets.demo.content import Moments, make_texts, rows
from audit_assets.demo.population import last_accesses, make_population, snapshots, workflows
from audit_assets.demo.source_tables import LOG_COLUMNS, connect

INSTANT = "%Y-%m-%dT%H:%M:%S%.6fZ"
LIVE_STEP_S = 0.25  # the longest time between commits
LIVE_ROWS_PER_COMMIT = 5_000

_TOUCH_WORKFLOWS = """
update workflows as w
set last_accessed_at = greatest(w.last_accessed_at, t.last_accessed_at)
from touched as t
where w.id = t.id
"""


def write_population(url: str, seed: int, start: datetime, end: datetime) -> None:
    """Writes the workspaces and their snapshots of a seed. Existing rows are not changed."""
    population = make_population(seed)
    with connect(url) as connection, connection.cursor() as cursor:
        for table, frame in (
            ("workflows", workflows(population).with_columns(last_accesses(population, end))),
            ("workspace_data_snapshots", snapshots(population, start, end)),
        ):
            _add_missing(cursor, table, frame)


def write(url: str, frames: Iterable[pl.DataFrame], progress: Callable[[int], None]) -> int:
    """Writes `frames` to ai_audit_logs, one transaction each, and sets workflows.last_accessed_at. Returns the number
    of new rows.

    `progress` is called with the number of rows of each frame after its commit.
    """
    written = 0
    with connect(url) as connection, connection.cursor() as cursor:
        for frame in frames:
            cursor.execute("savepoint day")
            try:
                _copy(cursor, "ai_audit_logs", frame.select(LOG_COLUMNS))
                written += len(frame)
            except psycopg2.errors.UniqueViolation:  # traffic of this seed is continued or generated again
                cursor.execute("rollback to savepoint day")
                written += _add_missing(cursor, "ai_audit_logs", frame.select(LOG_COLUMNS))
            _touch_workflows(cursor, frame)
            connection.commit()
            progress(len(frame))
        if written:
            cursor.execute("analyze ai_audit_logs")
    return written


def live(url: str, rate: float, seed: int, stop: Callable[[], bool]) -> int:
    """Inserts `rate` rows per second, with created_at = the source's now(), until `stop()` is true. Returns the number
    of inserted rows.

    If the source is slower than `rate`, it falls behind instead of sending unbounded bursts.
    """
    if not rate > 0:
        raise ValueError(f"rate = {rate}: rows per second, must be above 0")
    rng = np.random.default_rng([seed, 6, time.time_ns()])
    population, texts = make_population(seed), make_texts(seed)
    odds = population.day_shape.sum(axis=(1, 2))
    columns = [name for name in LOG_COLUMNS if name != "created_at"]
    written = 0
    with connect(url) as connection:
        began = time.monotonic()
        while not stop():
            due = min(int((time.monotonic() - began) * rate) - written, LIVE_ROWS_PER_COMMIT)
            if due > 0:
                capability = rng.choice(len(odds), due, p=odds / odds.sum())
                micros = np.full(due, time.time_ns() // 1000)
                frame = rows(rng, population, texts, Moments(capability, micros))
                with connection.cursor() as cursor:
                    _copy(cursor, "ai_audit_logs", frame.select(columns))
                    connection.commit()
                written += due
            if due < LIVE_ROWS_PER_COMMIT:
                time.sleep(LIVE_STEP_S)
    return written


def _copy(cursor: psycopg2.extensions.cursor, table: str, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_csv(buffer, include_header=False, datetime_format=INSTANT)
    buffer.seek(0)
    cursor.copy_expert(f"copy {table} ({', '.join(frame.columns)}) from stdin (format csv)", buffer)


def _add_missing(cursor: psycopg2.extensions.cursor, table: str, frame: pl.DataFrame) -> int:
    cursor.execute(f"create temp table missing (like {table} including defaults) on commit drop")
    _copy(cursor, "missing", frame)
    cursor.execute(f"insert into {table} select * from missing on conflict do nothing")
    added = cursor.rowcount
    cursor.execute("drop table missing")
    return added


def _touch_workflows(cursor: psycopg2.extensions.cursor, frame: pl.DataFrame) -> None:
    touched = (
        frame.drop_nulls("workflow_id")
        .group_by(pl.col("workflow_id").alias("id"))
        .agg(pl.col("created_at").max().alias("last_accessed_at"))
    )
    cursor.execute("create temp table touched (id text, last_accessed_at timestamptz) on commit drop")
    _copy(cursor, "touched", touched)
    cursor.execute(_TOUCH_WORKFLOWS)
