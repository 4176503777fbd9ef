"""A source that is a replica: its lag behind the primary is measured, and an idle primary causes no lag."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2
import pytest

from audit_assets.demo import postgres_files
from audit_assets.demo.process_guard import ProcessGuard
from audit_assets.demo.server_process import free_port, postmaster, run
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import SourceFacts, open_source
from audit_assets.ingest.sync import sync
from audit_assets.ingest.windows import Request
from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import fetch, insert_row

pytestmark = pytest.mark.requirement("R10")


@contextmanager
def standby(primary: str, folder: Path) -> Generator[str]:
    """The URL of a hot standby of `primary`, which replays what it receives an hour late."""
    account = postgres_files.server_account()
    private, port, parts = postgres_files.private_folder(account), free_port(), urlsplit(primary)
    data, log = private / "standby", folder / "standby.log"
    connection = f"host=127.0.0.1 port={parts.port} user={parts.username} password={unquote(parts.password or '')}"
    install = postgres_files.bundled_install()
    programs = postgres_files.copy_install(install, private) / "bin"
    shutil.copy2(install / "bin/pg_basebackup", programs)
    data.mkdir(mode=0o700)
    account.own(data)
    guard = ProcessGuard()
    try:
        backup = ["-D", str(data), "-d", connection, "-X", "stream", "-c", "fast", "-R", "--no-sync"]
        assert run(programs / "pg_basebackup", backup, account, private, log) == 0, log.read_text()
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{data}'\n")
            settings.write("recovery_min_apply_delay = '1h'\nwal_retrieve_retry_interval = '100ms'\nfsync = off\n")
        start = ["-D", str(data), "-w", "-l", str(data / "log"), "start"]
        assert run(programs / "pg_ctl", start, account, private, log) == 0, (data / "log").read_text()
        guard.add(postmaster(data) or os.getpid())
        yield primary.replace(f":{parts.port}/", f":{port}/")
    finally:
        run(programs / "pg_ctl", ["-D", str(data), "-m", "immediate", "stop"], account, private, log)
        guard.close()
        shutil.rmtree(private, ignore_errors=True)


def facts(url: str) -> SourceFacts:
    with open_source(url, SyncPolicy()) as source:
        return source.facts()


def ask(url: str, query: str) -> Any:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone() if cursor.description else None


def eventually(url: str, lag: Callable[[float | None], object]) -> SourceFacts:
    """Polls the facts until `lag` is true for the replay lag, for half a minute at most."""
    until = time.monotonic() + 30
    while True:
        found = facts(url)
        if lag(found.replay_lag_seconds) or time.monotonic() > until:
            return found
        time.sleep(0.1)


def test_a_replica_that_replays_late_lags_and_one_whose_primary_is_quiet_does_not(
    source: str, warehouse: DuckDBWarehouse, tmp_path: Path
):
    assert (facts(source).is_replica, facts(source).replay_lag_seconds) == (False, None)
    with standby(source, tmp_path) as replica:
        insert_row(source, "late", datetime.now(UTC))
        lagging = eventually(replica, lambda lag: lag and lag > 0.5)
        assert lagging.is_replica
        assert (lagging.replay_lag_seconds or 0) > 0.5, "received, and not replayed"
        assert sync(replica, warehouse, SyncPolicy(), Request("delta")).run.counts.added == 0
        assert fetch(warehouse, "select is_replica, replay_lag_seconds > 0.5 from analytics.ai_audit_sync_state") == [
            (True, True)
        ]
        ask(replica, "alter system set recovery_min_apply_delay = 0")
        ask(replica, "select pg_reload_conf()")
        assert eventually(replica, lambda lag: lag == 0).replay_lag_seconds == 0
        assert sync(replica, warehouse, SyncPolicy(), Request("delta")).run.counts.added == 1
        time.sleep(1.0)  # nobody writes at the primary
        assert facts(replica).replay_lag_seconds == 0
        ask(replica, "alter system set primary_conninfo = ''")
        ask(replica, "select pg_reload_conf()")
        assert (eventually(replica, lambda lag: lag and lag > 1).replay_lag_seconds or 0) > 1, "nothing is received"
