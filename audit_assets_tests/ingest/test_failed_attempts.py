"""A sync that fails for any reason is recorded as failed: at once, or by the next sync if it was killed or could not
write to the warehouse."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_assets.warehouse.attempts import KILLED, Attempt, describe, failed_attempts
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import DayWindow, Load, WarehouseError, WarehouseLockedError
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    fetch,
    insert_rows,
    loaded_ids,
    run,
    source_ids,
    warehouse_in,
)

pytestmark = pytest.mark.requirement("R14")

COMMITS_AND_WAITS = """
import signal, sys, time
from pathlib import Path
from audit_assets_tests.ingest.both_sides import run, warehouse_in
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ignored where the tests run in the background
def waits(window, load):
    print("committed", flush=True)
    time.sleep(600)
url, folder, mode = sys.argv[1:]
run(url, warehouse_in(Path(folder)), mode, listener=waits, attempts=Path(folder) / "attempts")
"""

ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from audit_assets_tests.ingest.both_sides import run, warehouse_in
url, folder, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
run(url, warehouse_in(Path(folder)), "full", attempts=Path(folder) / "attempts")
"""


def runs(warehouse: DuckDBWarehouse) -> list[tuple[Any, ...]]:
    return fetch(
        warehouse,
        "select mode, status, coalesce(error, '') from analytics.ai_audit_sync_state order by started_at, status, mode",
    )


@pytest.mark.parametrize(
    ("ended_by", "error"),
    [
        (lambda: signal.default_int_handler(signal.SIGINT, None), "interrupted (KeyboardInterrupt); run it again"),
        (lambda: bytearray(1 << 62), "out of memory: give this machine more, or lower AI_AUDIT_DUCKDB_MEMORY"),
        (lambda: Path("/dev/null/x").mkdir(), "Not a directory: /dev/null/x"),
        (lambda: dict[str, str]()["a prompt of somebody"], "KeyError: an error in the sync itself; see the run's log"),
    ],
)
def test_an_error_of_any_kind_leaves_a_failed_row_with_its_cause(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path, ended_by: Any, error: str
):
    insert_rows(source, 20, NOW - 5 * DAY, timedelta(hours=1))

    def listener(window: DayWindow, load: Load) -> None:
        ended_by()

    with pytest.raises((KeyboardInterrupt, MemoryError, OSError, KeyError)):
        run(source, warehouse, "full", listener=listener, attempts=tmp_path / "attempts")
    assert runs(warehouse) == [("full", "failed", error)]
    assert failed_attempts(tmp_path / "attempts") == ()


def test_a_load_that_does_not_fit_into_duckdbs_memory_leaves_a_failed_row(source: str, tmp_path: Path):
    usual = warehouse_in(tmp_path)
    # Within the shortest window: spread over a day, they would be loaded in ever smaller parts, for minutes.
    insert_rows(source, 20_000, NOW - DAY, timedelta(microseconds=1))
    small = DuckDBWarehouse(usual.path, usual.lock_path, 30.0, "4MB")
    with pytest.raises(WarehouseError, match="AI_AUDIT_DUCKDB_MEMORY"):
        run(source, small, "full", attempts=tmp_path / "attempts")
    attempts = [("full", "failed", attempt.error) for attempt in failed_attempts(tmp_path / "attempts")]
    ((mode, status, error),) = runs(usual) or attempts
    assert (mode, status) == ("full", "failed")
    assert "AI_AUDIT_DUCKDB_MEMORY" in error


@pytest.mark.parametrize("ends_it", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_sync_is_failed_and_not_running_for_ever(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path, ends_it: signal.Signals
):
    insert_rows(source, 5, NOW - 5 * DAY, DAY)
    with subprocess.Popen(
        [sys.executable, "-c", COMMITS_AND_WAITS, source, str(tmp_path), "full"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"committed\n"
        assert failed_attempts(tmp_path / "attempts") == (), "a sync that runs is no failure"
        process.send_signal(ends_it)
    assert runs(warehouse) == [("full", "running", "")]
    (left,) = failed_attempts(tmp_path / "attempts")
    assert (left.mode, left.started_at, left.error) == ("full", NOW, KILLED)
    ((committed,),) = fetch(warehouse, "select records_added from analytics.ai_audit_sync_state")
    run(source, warehouse, attempts=tmp_path / "attempts")
    assert runs(warehouse) == [("full", "failed", KILLED), ("delta", "succeeded", "")]
    kept = fetch(warehouse, "select records_added from analytics.ai_audit_sync_state where status = 'failed'")
    assert kept == [(committed,)], "what it committed stays on its row"
    assert list((tmp_path / "attempts").iterdir()) == []
    assert loaded_ids(warehouse) == source_ids(source)


def test_a_sync_that_finds_the_warehouse_locked_is_recorded_once_it_is_free(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path
):
    insert_rows(source, 3, NOW - DAY, timedelta(hours=1))
    with warehouse.exclusive("a backup"), pytest.raises(WarehouseLockedError):
        run(source, warehouse_in(tmp_path, timeout_seconds=0.1), "full", attempts=tmp_path / "attempts")
    (left,) = failed_attempts(tmp_path / "attempts")
    assert "a backup" in left.error
    run(source, warehouse, "full", attempts=tmp_path / "attempts")
    assert runs(warehouse) == [("full", "failed", left.error), ("full", "succeeded", "")]
    assert failed_attempts(tmp_path / "attempts") == ()


def test_a_sync_on_a_full_disk_is_on_record_once_there_is_space(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path
):
    run(source, warehouse)
    insert_rows(source, 20_000, NOW - 3 * DAY, timedelta(seconds=5))
    before = warehouse.path.stat().st_size
    ended = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, source, str(tmp_path), str(before + 100 * 1024)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "no space left" in ended.stderr
    run(source, warehouse, "full", attempts=tmp_path / "attempts")
    failed = [error for _, status, error in runs(warehouse) if status == "failed"]
    assert len(failed) == 1
    assert "no space left" in failed[0]
    assert failed_attempts(tmp_path / "attempts") == ()


def test_an_attempt_is_counted_also_where_not_one_byte_can_be_written(tmp_path: Path):
    child = """
import resource, sys
from pathlib import Path
from audit_assets.warehouse.attempts import track_attempt
from audit_assets_tests.environments import NOW
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with track_attempt(Path(sys.argv[1]), "full", NOW):
    raise OSError(28, "No space left on device")
"""
    subprocess.run([sys.executable, "-c", child, str(tmp_path)], capture_output=True, check=False)
    ((mode, started_at),) = [(left.mode, left.started_at) for left in failed_attempts(tmp_path)]
    assert (mode, started_at) == ("full", NOW)


def test_a_home_that_cannot_hold_attempts_stops_no_sync_and_is_reported(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path
):
    (tmp_path / "file").touch()
    report = run(source, warehouse, attempts=tmp_path / "file" / "attempts")
    assert report.run.status == "succeeded"
    assert any("AI_AUDIT_HOME" in warning for warning in report.warnings)


def test_a_file_left_by_a_sync_that_is_on_record_changes_nothing(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path
):
    """Killed after its last commit, before it deleted the file."""
    report = run(source, warehouse, "full")
    Attempt(tmp_path / "attempts", "full", NOW).end(failed=True)
    (left,) = (tmp_path / "attempts").iterdir()
    left.rename(left.with_name(left.name.rpartition("_")[0] + f"_{report.run.sync_id}"))
    assert [each.sync_id for each in failed_attempts(tmp_path / "attempts")] == [report.run.sync_id]
    run(source, warehouse, attempts=tmp_path / "attempts")
    assert [status for _, status, _ in runs(warehouse)] == ["succeeded", "succeeded"]


def test_a_cause_is_one_line_without_the_rows_that_an_error_may_quote():
    assert describe(WarehouseError("one\nline")) == "one line"
    assert "prompt" not in describe(ValueError("could not convert 'the prompt'"))
