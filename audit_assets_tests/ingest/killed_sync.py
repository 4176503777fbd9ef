"""A sync that reports its phase, so that a test can kill it there: `python killed_sync.py URL FOLDER MODE`.

It prints a line to stdout when a phase begins; a phase ends when the next one begins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from audit_assets.ingest import state_mirror
from audit_assets.ingest.source import Source
from audit_assets.ingest.state_mirror import write_mirror
from audit_assets.warehouse.duckdb import writer
from audit_assets.warehouse.duckdb.writer import DuckDBWriter
from audit_assets_tests.ingest.both_sides import run, warehouse_in
from audit_assets_tests.untyped import pa


def main(url: str, folder: str, mode: str) -> None:
    def mark(phase: str) -> None:
        os.write(1, f"{phase}\n".encode())

    def watched(rows: Any) -> Iterator[Any]:
        for batch in rows:
            mark("fetch")
            yield batch

    read = cast("Callable[[Source, Any], Any]", Source.read)
    record = DuckDBWriter._record  # pyright: ignore[reportPrivateUsage] - the last step before the commit
    commit = writer.transaction

    def read_marked(self: Source, scope: Any) -> Any:
        mark("fetch")
        rows = read(self, scope)
        return pa.RecordBatchReader.from_batches(rows.schema, watched(rows))

    def record_marked(self: DuckDBWriter, run: Any) -> None:
        mark("before commit")
        record(self, run)

    @contextmanager
    def commit_marked(connection: Any) -> Generator[None]:
        with commit(connection):
            yield
        mark("after commit")

    Source.read, writer.transaction = read_marked, commit_marked
    DuckDBWriter._record = record_marked  # pyright: ignore[reportPrivateUsage]
    rotate = state_mirror._rotate  # pyright: ignore[reportPrivateUsage] - the step between two files of the mirror

    def rotate_marked(path: Path, generations: int) -> None:
        rotate(path, generations)
        mark("state mirror")

    state_mirror._rotate = rotate_marked  # pyright: ignore[reportPrivateUsage]
    mark("start")
    report = run(url, warehouse_in(Path(folder)), mode)
    mark("state mirror")
    write_mirror(Path(folder) / "state.json", report.run)
    mark("end")


if __name__ == "__main__":
    main(*sys.argv[1:])
