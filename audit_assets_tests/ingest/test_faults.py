"""Faults of source and warehouse: one line with cause and fix, nothing half-written, and the next run succeeds."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest

from audit_assets.demo import postgres as embedded
from audit_assets.ingest.policy import SourceNames, SyncPolicy
from audit_assets.ingest.source_connection import SourceError
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.protocol import DayWindow, Load, WarehouseError, WarehouseLockedError
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    execute,
    fetch,
    insert_row,
    insert_rows,
    loaded_ids,
    run,
    source_ids,
    warehouse_in,
)

pytestmark = pytest.mark.requirement("R10")

PASSWORD = "hunter2"


def assert_clear(error: Exception, *words: str) -> None:
    message = str(error)
    assert "\n" not in message
    assert len(message) < 700
    assert PASSWORD not in message
    for word in words:
        assert word in message


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("postgresql://u:{password}@127.0.0.1:{closed}/app", "start it, or set AI_AUDIT_SOURCE_URL"),
        ("postgresql://u:{password}@no.such.host.invalid/app", "set AI_AUDIT_SOURCE_URL"),
        ("postgresql://nobody:{password}@{server}/app", "AI_AUDIT_SOURCE_URL"),
        ("postgresql://u:hun ter {password}@127.0.0.1:{closed}/app", "write AI_AUDIT_SOURCE_URL as"),
        ("postgresql://u:{password}/x@127.0.0.1:{closed}/app", "write AI_AUDIT_SOURCE_URL as"),
        ("postgresql://u:x@{password}@127.0.0.1:{closed}/app", "AI_AUDIT_SOURCE_URL"),
        ("postgresql+psycopg2://u:{password}@127.0.0.1/app", "write AI_AUDIT_SOURCE_URL as"),
        ("mysql://u:{password}@127.0.0.1/app", "write AI_AUDIT_SOURCE_URL as"),
        ("{password}", "write AI_AUDIT_SOURCE_URL as"),
        ("host=127.0.0.1 port={closed} password={password}", "start it, or set AI_AUDIT_SOURCE_URL"),
    ],
)
def test_an_unreachable_source_is_reported_without_its_password(
    postgres: str, warehouse: DuckDBWarehouse, url: str, fix: str
):
    server = postgres.partition("@")[2].partition("/")[0]
    with pytest.raises(SourceError) as error:
        run(url.format(password=PASSWORD, closed=closed_port(), server=server), warehouse)
    assert_clear(error.value, fix)
    ((status, recorded),) = fetch(warehouse, "select status, error from analytics.ai_audit_sync_state")
    assert (status, recorded) == ("failed", str(error.value))


def test_a_table_or_column_that_is_missing_is_named(source: str, warehouse: DuckDBWarehouse):
    execute(source, "alter table ai_audit_logs rename provider to vendor")
    with pytest.raises(SourceError) as error:
        run(source, warehouse)
    assert_clear(error.value, "no column 'provider'", "vendor", "source.columns")
    execute(source, "alter table ai_audit_logs rename to logs")
    with pytest.raises(SourceError) as error:
        run(source, warehouse)
    assert_clear(error.value, "no table ai_audit_logs", "source.table")


def test_a_role_without_select_is_reported_with_the_grant(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW)
    execute(source, f"create role outsider login password '{PASSWORD}'")
    url = f"postgresql://outsider:{PASSWORD}@{source.partition('@')[2]}"
    try:
        with pytest.raises(SourceError) as error:
            run(url, warehouse)
        assert_clear(error.value, "permission denied", "grant select")
        execute(source, "grant select on ai_audit_logs to outsider; revoke usage on schema public from public")
        with pytest.raises(SourceError) as error:
            run(url, warehouse)
        assert_clear(error.value, "grant")
        execute(source, "grant usage on schema public to outsider")
        assert run(url, warehouse).run.counts.added == 1
    finally:
        execute(source, "drop owned by outsider; drop role outsider")


@pytest.mark.parametrize("mode", ["delta", "full"])
def test_a_source_that_hangs_up_in_the_middle_costs_only_that_day(source: str, warehouse: DuckDBWarehouse, mode: str):
    execute(
        source,
        """insert into ai_audit_logs select 'r' || n, null, 'x', 'y', %s + n * interval '1 second',
        jsonb_build_object('prompt', repeat(md5(n::text), 30)) from generate_series(1, 40000) n""",
        (NOW - DAY,),
    )
    hang_up = """select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'ai-audit-sync' and state = 'active' and query like 'COPY%' """
    done = threading.Event()

    def hangs_up() -> None:
        with closing(psycopg2.connect(source)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not done.wait(0.005):
                    cursor.execute(hang_up)

    ender = threading.Thread(target=hangs_up)
    ender.start()
    try:
        with pytest.raises(SourceError) as error:
            run(source, warehouse, mode, SyncPolicy(source=SourceNames(retries=0)))
    finally:
        done.set()
        ender.join()
    assert_clear(error.value, "the next sync reads it again once it runs")
    assert fetch(warehouse, "select count(*) from analytics.ai_audit_sync_state where status = 'failed'") == [(1,)]
    run(source, warehouse, mode)
    assert loaded_ids(warehouse) == source_ids(source)


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("own")
    try:
        yield embedded.start(folder), folder
    finally:
        embedded.remove(folder)


def test_a_server_that_stops_between_two_days_costs_nothing_that_was_committed(
    own_server: tuple[str, Path], warehouse: DuckDBWarehouse
):
    url, folder = own_server
    insert_rows(url, 80, NOW - 79 * DAY, DAY)

    def stops(window: DayWindow, load: Load) -> None:
        embedded.stop(folder)

    with pytest.raises(SourceError) as error:
        run(url, warehouse, listener=stops)
    assert_clear(error.value)
    assert 0 < len(loaded_ids(warehouse)) < 80
    with pytest.raises(SourceError) as error:
        run(url, warehouse)
    assert_clear(error.value, "start it")
    url = embedded.start(folder)
    report = run(url, warehouse)
    assert 0 < report.run.counts.added < 80
    assert loaded_ids(warehouse) == source_ids(url)


OPEN_ELSEWHERE = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_warehouse_open_in_another_program_is_reported(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW)
    run(source, warehouse)
    with subprocess.Popen(
        [sys.executable, "-c", OPEN_ELSEWHERE, str(warehouse.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(WarehouseLockedError) as error:
            run(source, warehouse)
        assert_clear(error.value, "open in another program", f"PID {other.pid}", "close it")
        assert other.stdin is not None
        other.stdin.close()
    assert run(source, warehouse).run.status == "succeeded"


def test_a_file_that_is_not_a_warehouse_is_reported_and_left_alone(source: str, warehouse: DuckDBWarehouse):
    warehouse.path.write_text("notes, not rows\n" * 1000)
    before = warehouse.path.read_bytes()
    with pytest.raises(WarehouseError) as error:
        run(source, warehouse)
    assert_clear(error.value, "not a DuckDB file", "AI_AUDIT_DUCKDB_PATH")
    assert warehouse.path.read_bytes() == before


@pytest.mark.parametrize("size", [0, 4096, 8192, 12287], ids="{} bytes".format)
def test_a_warehouse_file_that_was_killed_while_it_was_made_is_made_anew(
    source: str, warehouse: DuckDBWarehouse, size: int
):
    insert_row(source, "a", NOW)
    run(source, warehouse)
    whole = warehouse.path.read_bytes()
    warehouse.path.with_name(warehouse.path.name + ".wal").unlink(missing_ok=True)
    warehouse.path.write_bytes(whole[:size])
    assert run(source, warehouse).run.counts.added == 1
    assert loaded_ids(warehouse) == ["a"]


@pytest.mark.parametrize("size", [20_000, 200_000], ids="{} bytes".format)
def test_a_warehouse_file_that_is_cut_off_is_refused_with_the_fix(source: str, warehouse: DuckDBWarehouse, size: int):
    insert_row(source, "a", NOW)
    run(source, warehouse)
    warehouse.path.write_bytes(warehouse.path.read_bytes()[:size])
    with pytest.raises(WarehouseError) as error:
        run(source, warehouse)
    assert_clear(error.value, str(warehouse.path), "restore it", "move it away")
    assert warehouse.path.stat().st_size == size


def test_an_empty_warehouse_file_beside_a_log_with_rows_is_refused_and_left_alone(
    source: str, warehouse: DuckDBWarehouse
):
    log = warehouse.path.with_name(warehouse.path.name + ".wal")
    warehouse.path.write_bytes(b"")
    log.write_bytes(b"rows that were committed")
    with pytest.raises(WarehouseError) as error:
        run(source, warehouse)
    assert_clear(error.value, str(log), "move both away")
    assert log.read_bytes() == b"rows that were committed"


def test_a_folder_that_cannot_hold_a_warehouse_is_reported(source: str, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WarehouseError) as error:
        run(source, warehouse_in(tmp_path / "file"))
    assert_clear(error.value, "AI_AUDIT_DUCKDB_PATH")
    folder = warehouse_in(tmp_path)
    folder.path.mkdir()
    with pytest.raises(WarehouseError) as error:
        run(source, folder)
    assert_clear(error.value, "AI_AUDIT_DUCKDB_PATH")


# The limit stays for the life of a process, so another process runs into it.
ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from audit_assets_tests.ingest.both_sides import run, warehouse_in
from audit_assets.warehouse.protocol import WarehouseError
url, folder, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    run(url, warehouse_in(Path(folder)), "full")
except WarehouseError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("limit_kib", [100, 600, 1500])
def test_a_full_disk_is_reported_and_leaves_nothing_half_written(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path, limit_kib: int
):
    insert_rows(source, 20, NOW - 5 * DAY, timedelta(hours=1))
    run(source, warehouse)
    insert_rows(source, 40000, NOW - 3 * DAY, timedelta(seconds=5), "more")
    before = warehouse.path.stat().st_size // 1024
    ended = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, source, str(tmp_path), str((before + limit_kib) * 1024)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout.count("\n")) == (7, 1), ended.stderr
    assert "no space left" in ended.stdout
    assert "free some" in ended.stdout
    loaded = len(loaded_ids(warehouse))
    ((recorded,),) = fetch(warehouse, "select sum(records_added)::int from analytics.ai_audit_sync_state")
    assert loaded == recorded  # rows and their run are committed together
    run(source, warehouse, "full")
    assert loaded_ids(warehouse) == source_ids(source)
