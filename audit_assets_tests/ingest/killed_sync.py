"""A sync that reports its phase, so that a test can kill it there: `python killed_sync.py URL FOLDER MODE`.

It prints a line to stdout when a phase begins; a phase ends when the next one begins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from audit_assets.ingest import state_mirror
from audit_assets.ingest.source import Source
from audit_assets.ingest.state_mirror import write_mirror
from audit_assets.warehouse.duckdb import writer
from audit_assets.warehouse.duckdb.writer import DuckDBWriter
from audit_assets_tests.ingest.both_sides import run, warehouse_in


def main(url: str, folder: str, mode: str) -> None:
    def mark(phase: str) -> None:
        os.write(1, f"{phase}\n".encode())

    def watched(rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            mark("fetch")
            yield batch

    read, record, commit = Source.read, DuckDBWriter._record, writer.transaction

    def read_marked(self: Source, scope: Any) -> pa.RecordBatchReader:
        mark("fetch")
        rows = read(self, scope)
        return pa.RecordBatchReader.from_batches(rows.schema, watched(rows))

    def record_marked(self: DuckDBWriter, ran: Any) -> None:
        mark("before commit")
        record(self, ran)

    @contextmanager
    def commit_marked(connection: Any) -> Iterator[None]:
        with commit(connection):
            yield
        mark("after commit")

    Source.read, DuckDBWriter._record, writer.transaction = read_marked, record_marked, commit_marked  # type: ignore[method-assign]
    rotate = state_mirror._rotate

    def rotate_marked(path: Path, generations: int) -> None:
        rotate(path, generations)
        mark("state mirror")

    state_mirror._rotate = rotate_marked
    mark("start")
    report = run(url, warehouse_in(Path(folder)), mode)
    mark("state mirror")
    write_mirror(Path(folder) / "state.json", report.run)
    mark("end")


if __name__ == "__main__":
    main(*sys.argv[1:])
