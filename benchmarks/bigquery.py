"""Loads and merges 45,000 rows into BigQuery through the client library, compared with the emulator's own time.

The emulator's own time is the duration of its jobs. The rest is spent in the project and the client: normalization,
Parquet, upload, queries, waiting. The figure does not describe BigQuery itself.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, cast

import pyarrow as pa

from audit_assets.settings import Settings
from audit_assets.warehouse.bigquery.client import BigQueryOptions, open_client
from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from audit_assets.warehouse.protocol import DayWindow, ExtractBatch, Load, LoadOptions, SyncRun, start_of
from benchmarks.figure import BenchmarkError, Figure, at_most
from tools.emulator.running import Emulator, EmulatorError, running_emulator

_DAY = datetime(2026, 11, 2, tzinfo=UTC)
_SQL = "select *, null::varchar as reject_reason, null::varchar as created_at_text from incoming"


@dataclass(frozen=True)
class Size:
    """Rows already in the day, rows of a batch (a tenth of them already loaded), and the number of timed batches."""

    existing: int
    batch: int
    rounds: int


FULL = Size(existing=450_000, batch=45_000, rounds=5)
QUICK = Size(existing=20_000, batch=5_000, rounds=2)


def measure(size: Size) -> tuple[Figure, ...]:
    """Raises BenchmarkError if the emulator cannot be started."""
    with tempfile.TemporaryDirectory(prefix="audit-benchmark-") as folder:
        try:
            with running_emulator(Path(folder) / "emulator") as emulator:
                ratios, walls = zip(*_rounds(emulator, Path(folder), size), strict=True)
        except EmulatorError as error:
            raise BenchmarkError(str(error)) from error
    return (
        Figure(
            f"load and merge of {size.batch:,} rows through the client against the emulator's own time",
            median(ratios), "×", at_most(2), f"{median(walls):.2f} s, into a day of {size.existing:,} rows",
        ),
    )  # fmt: skip


def _rounds(emulator: Emulator, folder: Path, size: Size) -> Iterator[tuple[float, float]]:
    """Yields each batch's ratio and seconds. Loads the existing rows first, without timing them."""
    settings = Settings(_env_file=None, **{**emulator.settings, "AI_AUDIT_HOME": str(folder)})  # type: ignore[arg-type, call-arg]
    warehouse = BigQueryWarehouse(settings, BigQueryOptions())
    client = open_client(warehouse.location)
    first, known = 0, set[str]()
    for number in range(size.rounds + 1):
        rows = size.existing if number == 0 else size.batch
        with warehouse.writer("a benchmark") as writer:
            known = {job.job_id for job in cast("Iterable[Any]", client.list_jobs(timeout=30))}
            began = time.perf_counter()
            load = writer.load(
                ExtractBatch(_rows(max(0, first - rows // 10), rows), _SQL),
                DayWindow(_DAY.date(), _DAY, start_of(_DAY.date() + timedelta(days=1))),
                LoadOptions(f"sync-{number}", "delta", _DAY, replace=False, late_before=None),
                _run(f"sync-{number}"),
            )
            took = time.perf_counter() - began
        if load.counts.added != (rows if number == 0 else rows - rows // 10):
            raise BenchmarkError(f"unexpected counts of the load: {load.counts}")
        first += load.counts.added
        own = sum(
            (job.ended - job.started).total_seconds()
            for job in cast("Iterable[Any]", client.list_jobs(timeout=30))
            if job.job_id not in known and job.started and job.ended
        )
        if number > 0:
            yield took / own, took


def _rows(first: int, count: int) -> pa.RecordBatchReader:
    """Normalized rows of one day, as wide as real rows."""
    numbers = range(first, first + count)
    text = pa.string()
    columns: dict[str, pa.Array] = {
        "id": pa.array([f"{number:032x}" for number in numbers], text),
        "workflow_id": pa.array([f"ws-{number % 500:04}" for number in numbers], text),
        "capability": pa.array([f"capability_{number % 12}" for number in numbers], text),
        "provider": pa.array(["openai"] * count, text),
        "created_at": pa.array(
            [_DAY + timedelta(milliseconds=50 * number) for number in numbers], pa.timestamp("us", "UTC")
        ),
        "status": pa.array(["success"] * count, text),
        "error_flag": pa.array([False] * count),
        "duration_ms": pa.array([str(number % 5000) for number in numbers], text),
        "model": pa.array(["gpt-4o-mini"] * count, text),
        "model_parameters": pa.array(['{"temperature": 0.2, "max_tokens": 1024}'] * count, text),
        "completion_id": pa.array([f"cmpl-{number:024x}" for number in numbers], text),
        "prompt_tokens": pa.array(["812"] * count, text),
        "completion_tokens": pa.array(["164"] * count, text),
        "source_documents": pa.array(['["doc-1", "doc-2"]'] * count, text),
        "snapshot_id": pa.array([f"snap-{number % 90}" for number in numbers], text),
        "drill_id": pa.nulls(count, text),
        "prompt_length": pa.array([number % 900 for number in numbers], pa.int64()),
        "row_hash": pa.array([f"{number * 7919:032x}" for number in numbers], text),
        "synced_at": pa.array([_DAY] * count, pa.timestamp("us", "UTC")),
    }
    return pa.table(columns).to_reader()


def _run(sync_id: str) -> Callable[[Load], SyncRun]:
    def after(load: Load) -> SyncRun:
        return SyncRun(
            sync_id=sync_id, mode="delta", status="running", window_start=_DAY, window_end=_DAY, started_at=_DAY,
            last_synced_at=_DAY, sync_duration_ms=0, counts=load.counts, source_max_created_at=_DAY, watermark=_DAY,
            oldest_write_seconds=None, sessions_visible=None,
        )  # fmt: skip

    return after
