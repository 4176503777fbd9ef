"""Made rows into the source: in bulk by the day, or live at a rate."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from datetime import datetime

import numpy as np
import polars as pl
import psycopg2.errors
import psycopg2.extensions

from audit_assets.simulate.content import Moments, rows
from audit_assets.simulate.tables import LOG_COLUMNS, connected
from audit_assets.simulate.wording import make_texts
from audit_assets.simulate.world import last_accesses, make_world, snapshots, workflows

INSTANT = "%Y-%m-%dT%H:%M:%S%.6fZ"
LIVE_STEP_S = 0.25  # a commit at least this often
LIVE_ROWS_A_COMMIT = 5_000

_TOUCH_WORKFLOWS = """
update workflows as w
set last_accessed_at = greatest(w.last_accessed_at, t.last_accessed_at)
from touched as t
where w.id = t.id
"""


def write_world(url: str, seed: int, start: datetime, end: datetime) -> None:
    """The workspaces and their snapshots of a seed; those already there stay as they are."""
    world = make_world(seed)
    with connected(url) as connection, connection.cursor() as cursor:
        for table, frame in (
            ("workflows", workflows(world).with_columns(last_accesses(world, end))),
            ("workspace_data_snapshots", snapshots(world, start, end)),
        ):
            _add_missing(cursor, table, frame)


def write(url: str, frames: Iterable[pl.DataFrame], progress: Callable[[int], None]) -> int:
    """Put `frames` into ai_audit_logs, one transaction each. The rows that were not there before.

    `progress` hears the rows of each frame once they are committed. Sets workflows.last_accessed_at.
    """
    written = 0
    with connected(url) as connection, connection.cursor() as cursor:
        for frame in frames:
            cursor.execute("savepoint day")
            try:
                _copy(cursor, "ai_audit_logs", frame.select(LOG_COLUMNS))
                written += len(frame)
            except psycopg2.errors.UniqueViolation:  # traffic of this seed is continued or made again
                cursor.execute("rollback to savepoint day")
                written += _add_missing(cursor, "ai_audit_logs", frame.select(LOG_COLUMNS))
            _touch_workflows(cursor, frame)
            connection.commit()
            progress(len(frame))
        if written:
            cursor.execute("analyze ai_audit_logs")
    return written


def live(url: str, rate: float, seed: int, stop: Callable[[], bool]) -> int:
    """Insert `rate` rows a second, created_at = the source's now(), until `stop()`. The rows inserted.

    Falls behind rather than bursting without bound where the source is slower than that.
    """
    if not rate > 0:
        raise ValueError(f"rate = {rate}: rows a second, above 0")
    rng = np.random.default_rng([seed, 6, time.time_ns()])
    world, texts = make_world(seed), make_texts(seed)
    odds = world.day_shape.sum(axis=(1, 2))
    columns = [name for name in LOG_COLUMNS if name != "created_at"]
    written = 0
    with connected(url) as connection:
        began = time.monotonic()
        while not stop():
            due = min(int((time.monotonic() - began) * rate) - written, LIVE_ROWS_A_COMMIT)
            if due > 0:
                capability = rng.choice(len(odds), due, p=odds / odds.sum())
                micros = np.full(due, time.time_ns() // 1000)
                frame = rows(rng, world, texts, Moments(capability, micros))
                with connection.cursor() as cursor:
                    _copy(cursor, "ai_audit_logs", frame.select(columns))
                    connection.commit()
                written += due
            if due < LIVE_ROWS_A_COMMIT:
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
