"""Runs the benchmarks in their smallest sizes with real components, without checking how fast they are."""

import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import psutil
import psycopg2
import pytest

from audit_assets.settings import PROJECT_ROOT
from benchmarks import ingest, rebuild
from benchmarks.history import make_history
from benchmarks.home import NOW, Home, make_home
from benchmarks.serving import disk_mb
from benchmarks.source_rows import add_rows, fill


def test_ingest_measures_a_whole_load_against_the_copy() -> None:
    figures = ingest.measure(ingest.Sizes(small_rows=300, large_rows=0, rounds=1, with_peer=False))

    results = {figure.name: figure.result for figure in figures}
    assert [name for name, result in results.items() if result == "skipped"] == [
        "dlt 1.31 with connectorx / ours, same rows"
    ]
    assert all(figure.value is None or figure.value > 0 for figure in figures)


def test_a_rebuild_is_the_same_work_as_its_bare_sql() -> None:
    ratio, memory = rebuild.measure(rebuild.Sizes(rows=400, days=16, rounds=1))

    assert ratio.value is not None
    assert ratio.value > 0
    assert memory.unit == "MB"


def test_source_rows_have_the_size_asked_for(source: str) -> None:
    assert 640 < fill(source, 200, 700, 3, NOW).json_bytes < 760
    assert 7_600 < fill(source, 50, 8_000, 3, NOW).json_bytes < 8_400
    with closing(psycopg2.connect(source)) as connection, connection.cursor() as cursor:
        ids = add_rows(cursor, 7, "live-")
        cursor.execute(
            "select count(*), min(created_at) = transaction_timestamp() from ai_audit_logs where id = any(%s)",
            (ids,),
        )
        assert cursor.fetchall() == [(7, True)]


def test_history_covers_every_day_up_to_now_with_rows_to_the_number(tmp_path: Path) -> None:
    home, now = make_home(tmp_path / "home"), datetime(2026, 11, 5, 6, tzinfo=UTC)

    make_history(home, 1_000, 10, now)

    with duckdb.connect(str(home.duckdb_path)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        totals = connection.execute(
            "select count(*), count(distinct id), count(distinct cast(created_at as date)), max(created_at) <= ?"
            " from analytics.ai_audit_logs",
            [now],
        ).fetchall()
    assert totals == [(1_000, 1_000, 10, True)]


def test_children_get_every_path_and_nothing_from_the_surrounding_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_AUDIT_APP_URL", "https://surrounding.example")

    environment = Home(tmp_path, "postgresql://source").environment

    assert "AI_AUDIT_APP_URL" not in environment
    assert environment["AI_AUDIT_HOME"] == str(tmp_path)
    assert environment["AI_AUDIT_SOURCE_URL"] == "postgresql://source"


def test_the_cpu_of_a_grandchild_whose_parent_left_it_is_counted() -> None:
    burn = "import time\nwhile time.process_time() < 0.6: pass"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    supervised = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.supervised", sys.executable, "-c", leave],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    until = time.monotonic() + 20
    while time.monotonic() < until and supervised.poll() is None:
        time.sleep(0.05)  # the supervisor ends by itself after its tree
    assert supervised.stdin is not None
    printed, _ = supervised.communicate()

    assert not psutil.pid_exists(supervised.pid)
    assert b'"left": 0' in printed
    assert float(printed.split(b'"cpu": ')[1].split(b",")[0]) >= 0.6


def test_disk_use_is_reported_per_entry_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "published/day").mkdir(parents=True)
    (tmp_path / "published/day/rows").write_bytes(b"x" * 500_000)
    (tmp_path / "warehouse").write_bytes(b"x" * 200_000)

    sizes = disk_mb(tmp_path)

    assert sizes.keys() == {"published", "warehouse"}
    assert sizes["published"] >= 0.5
