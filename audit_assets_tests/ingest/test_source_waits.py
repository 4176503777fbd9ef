"""A source that is slow, locked, stalled or pooled: waits are bounded, committed rows stay, nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from audit_assets.demo.server_process import free_port
from audit_assets.ingest.policy import SourceNames, SyncPolicy
from audit_assets.ingest.source import open_source
from audit_assets.ingest.source_connection import SourceError, to_source_error
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import (
    DAY,
    NOW,
    assert_all_accounted_for,
    execute,
    fetch,
    insert_row,
    insert_rows,
    loaded_ids,
    query_source,
    run,
    source_ids,
)

pytestmark = pytest.mark.requirement("R10")

MIDNIGHT = datetime.combine(NOW.date(), datetime.min.time(), UTC)

# Each read of a document waits, like a scan of cold pages; the query for the newest row does not.
SLOW_VIEW = """
create function slowly(document jsonb) returns jsonb language plpgsql stable
    as 'begin perform pg_sleep({seconds}); return document; end';
create view slow_logs as select id, workflow_id, capability, provider, created_at,
    slowly(request_metadata) as request_metadata, response_metadata from ai_audit_logs
"""


def policy(table: str = "ai_audit_logs", **limits: Any) -> SyncPolicy:
    seconds: dict[str, Any] = {name: timedelta(seconds=value) for name, value in limits.items() if name != "retries"}
    return SyncPolicy(source=SourceNames(table=table, retries=limits.get("retries", 4), **seconds))


def three_days(source: str, rows_per_day: int = 60) -> None:
    for day in (3, 2, 1):
        insert_rows(source, rows_per_day, MIDNIGHT - day * DAY, DAY / rows_per_day, f"day{day}-")


@contextmanager
def locked(source: str) -> Generator[None]:
    """Locks the table as `alter table` does."""
    with closing(psycopg2.connect(source)) as connection, connection.cursor() as cursor:
        cursor.execute("lock table ai_audit_logs in access exclusive mode")
        yield


@contextmanager
def in_background(work: Callable[[threading.Event], None]) -> Generator[None]:
    """Runs `work` in a thread while the block runs. It must end once the event is set."""
    done = threading.Event()
    thread = threading.Thread(target=work, args=[done])
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("mode", ["delta", "full"])
def test_a_day_that_statement_timeout_breaks_off_is_read_in_parts(source: str, warehouse: DuckDBWarehouse, mode: str):
    three_days(source)
    execute(source, SLOW_VIEW.format(seconds=0.01))
    execute(source, f"alter database {urlsplit(source).path[1:]} set statement_timeout = '1s'")
    report = run(source, warehouse, mode, policy("slow_logs", retries=0))
    assert report.run.counts.added == 180
    assert loaded_ids(warehouse) == source_ids(source)
    assert_all_accounted_for(source, warehouse)


def test_a_statement_timeout_that_no_part_fits_names_the_setting_and_keeps_what_was_read(
    source: str, warehouse: DuckDBWarehouse
):
    three_days(source, 20)
    insert_row(source, "slow", MIDNIGHT + timedelta(seconds=1))
    execute(source, SLOW_VIEW.format(seconds="case when document is null then 30 else 0 end"))
    execute(source, f"alter database {urlsplit(source).path[1:]} set statement_timeout = '500ms'")
    with pytest.raises(SourceError, match="statement_timeout") as error:
        run(source, warehouse, policy=policy("slow_logs", retries=1))
    assert error.value.sqlstate == "57014"
    assert len(loaded_ids(warehouse)) == 60
    assert fetch(warehouse, "select count(*) from analytics.ai_audit_sync_state where status = 'failed'") == [(1,)]


def test_reads_that_a_standby_cancels_are_repeated_and_the_setting_is_named_where_it_goes_on(
    source: str, warehouse: DuckDBWarehouse
):
    three_days(source, 10)
    execute(
        source,
        """create table conflicts (until timestamptz); insert into conflicts values (now() + interval '2 seconds');
        create function conflicting(document jsonb) returns jsonb language plpgsql stable as $$ begin
            if clock_timestamp() < (select until from conflicts) then
                raise sqlstate '40001' using message = 'canceling statement due to conflict with recovery';
            end if;
            return document;
        end $$;
        create view standby_logs as select id, workflow_id, capability, provider, created_at,
            conflicting(request_metadata) as request_metadata, response_metadata from ai_audit_logs""",
    )
    assert run(source, warehouse, policy=policy("standby_logs")).run.counts.added == 30
    execute(source, "update conflicts set until = 'infinity'")
    with pytest.raises(SourceError, match=r"max_standby_streaming_delay.*hot_standby_feedback"):
        run(source, warehouse, "full", policy("standby_logs", retries=1))
    assert loaded_ids(warehouse) == source_ids(source)


def test_a_locked_table_is_waited_for_a_while_without_the_warehouse_and_then_named(
    source: str, warehouse: DuckDBWarehouse
):
    insert_row(source, "a", NOW)
    waited: list[float] = []

    def looks(done: threading.Event) -> None:
        while not done.wait(0.05):
            began = time.monotonic()
            with warehouse.exclusive("a look"):
                waited.append(time.monotonic() - began)

    with locked(source), in_background(looks), pytest.raises(SourceError, match=r"lock_timeout") as error:
        run(source, warehouse, policy=policy(lock_timeout=1, retries=2))
    assert error.value.sqlstate == "55P03"
    assert waited
    assert max(waited) < 3
    assert fetch(warehouse, "select status from analytics.ai_audit_sync_state") == [("failed",)]


def test_a_table_that_is_locked_for_a_moment_holds_a_sync_up_only_for_that_moment(
    source: str, warehouse: DuckDBWarehouse
):
    insert_row(source, "a", NOW)

    def holds(done: threading.Event) -> None:
        with locked(source):
            taken.set()
            done.wait(2)

    taken = threading.Event()
    with in_background(holds):
        taken.wait()
        assert run(source, warehouse, policy=policy(lock_timeout=0.5)).run.counts.added == 1


@pytest.mark.parametrize("form", ["postgresql://u:p@127.0.0.1:{port}/app", "host=127.0.0.1 port={port} dbname=app"])
def test_a_server_that_accepts_and_never_answers_is_given_up(warehouse: DuckDBWarehouse, form: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = form.format(port=silent.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"no data came from the source for 2 s.*source.stall_timeout"):
            run(url, warehouse, policy=policy(stall_timeout=2))
    assert time.monotonic() - began < 30
    assert fetch(warehouse, "select status from analytics.ai_audit_sync_state") == [("failed",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may stop another account's process")
def test_a_read_that_stalls_is_given_up_and_repeated(source: str, warehouse: DuckDBWarehouse):
    three_days(source, 200)
    execute(source, SLOW_VIEW.format(seconds=0.005))
    stopped: list[int] = []

    def stops(done: threading.Event) -> None:
        with closing(psycopg2.connect(source)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not stopped and not done.wait(0.02):
                    cursor.execute(
                        """select pid from pg_stat_activity where application_name = 'ai-audit-sync'
                            and state = 'active' and query like 'COPY (select left(%'"""
                    )
                    for (pid,) in cursor.fetchall():
                        os.kill(pid, signal.SIGSTOP)
                        stopped.append(pid)

    try:
        with in_background(stops):
            report = run(source, warehouse, policy=policy("slow_logs", stall_timeout=3))
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert len(stopped) == 1
    assert report.run.counts.added == 600
    assert loaded_ids(warehouse) == source_ids(source)


@pytest.mark.parametrize(
    ("sqlstate", "is_transient"),
    [
        *((code, True) for code in ("08006", "08P01", "40001", "40P01", "53300", "53200", "55P03", "57014", "57P01")),
        *((code, True) for code in ("57P02", "57P03", "25P03")),
        *((code, False) for code in ("28P01", "3D000", "42501", "42P01", "42703", "22P02", "XX000")),
    ],
)
def test_failures_of_the_source_are_transient_or_terminal_by_their_sqlstate(sqlstate: str, is_transient: bool):
    error = psycopg2.Error("what the server said")
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    assert to_source_error(error, "postgresql://u@h/d").is_transient is is_transient


@pytest.fixture
def pooled(source: str, tmp_path: Path) -> Iterator[str]:
    """The source through a pooler with one server connection for all transactions."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("no pgbouncer here: `apt-get install pgbouncer` brings it")
    parts, port = urlsplit(source), free_port()
    folder = tmp_path / "pooler"
    folder.mkdir()
    place = f"host={parts.hostname} port={parts.port} dbname={parts.path[1:]}"
    (folder / "pooler.ini").write_text(f"""
[databases]
pooled = {place} user={parts.username} password={parts.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
""")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    for path in (folder, *folder.parents):
        if os.geteuid() == 0 and path.is_relative_to(tmp_path.parents[1]):
            path.chmod(0o755)
    with subprocess.Popen([program, *user, str(folder / "pooler.ini")], stderr=subprocess.DEVNULL) as pooler:
        try:
            url = f"postgresql://anybody@127.0.0.1:{port}/pooled?sslmode=disable"
            for _ in range(100):
                with suppress(psycopg2.OperationalError):
                    query_source(url, "select 1")
                    break
                time.sleep(0.1)
            yield url
        finally:
            pooler.terminate()


def test_nothing_of_a_sync_stays_on_a_connection_that_a_pooler_shares(
    source: str, pooled: str, warehouse: DuckDBWarehouse
):
    state = "select name, setting from pg_settings order by name"
    left = """select (select count(*) from pg_prepared_statements),
        (select count(*) from pg_locks where locktype = 'advisory')"""
    three_days(source, 10)
    before = query_source(pooled, state)
    assert run(pooled, warehouse, "full").run.counts.added == 30
    with open_source(pooled, SyncPolicy()) as reading:
        reading.facts()
        reading.counts_by_hour(NOW - DAY, NOW)
        reading.workspaces()
    assert query_source(pooled, state) == before
    assert query_source(pooled, left) == [(0, 0)]
    insert_row(pooled, "the application's", NOW)
    assert run(pooled, warehouse).run.counts.added == 1
