"""Rows that commit late with an older created_at: none is lost, and limits of the look-back cause warnings."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta

import psycopg2
import pytest

from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets_tests.ingest.both_sides import (
    NOW,
    POLICY,
    assert_all_accounted_for,
    execute,
    insert_row,
    loaded_ids,
    query_source,
    repair_diff,
    run,
    source_ids,
)
from audit_assets_tests.ingest.writers import Writers

pytestmark = pytest.mark.requirement("R12")

LONGEST_S, SKEW_S = 3.0, 3.0
# The longest write transaction, plus the clocks of two clients off in opposite ways, plus a second.
SHORT = POLICY.model_copy(update={"lookback": timedelta(seconds=LONGEST_S + 2 * SKEW_S + 1)})


def naive_reader(url: str, found: set[str], done: threading.Event) -> None:
    """The control: reads the rows that are newer than the newest row read so far."""
    last = datetime.min.replace(tzinfo=NOW.tzinfo, year=2000)
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not done.wait(0.3):
                cursor.execute("select id, created_at from ai_audit_logs where created_at > %s", (last,))
                for id_, created_at in cursor.fetchall():
                    found.add(id_)
                    last = max(last, created_at)


def lost_share(source: str, warehouse: DuckDBWarehouse, seconds: float, seed: int) -> float:
    """Runs deltas while twelve writers write. Returns the share of rows that the naive control lost."""
    naive: set[str] = set()
    done = threading.Event()
    control = threading.Thread(target=naive_reader, args=(source, naive, done))
    control.start()
    with Writers(source, 12, LONGEST_S, SKEW_S, seed):
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            run(source, warehouse, policy=SHORT, now=None)
            time.sleep(0.1)
    time.sleep(0.7)  # the control reads once more when all is quiet
    done.set()
    control.join()
    run(source, warehouse, policy=SHORT, now=None)
    written = source_ids(source)
    assert loaded_ids(warehouse) == written  # none lost, none duplicated
    assert run(source, warehouse, "full", policy=SHORT, now=None).run.counts.added == 0
    assert repair_diff(warehouse) == []
    share = 1 - len(naive & set(written)) / len(written)
    print(f"\n{len(written)} rows: look-back lost 0, duplicated 0; naive `created_at > last` lost {share:.1%}")
    return share


def test_twelve_writers_lose_nothing_where_a_naive_reader_does(source: str, warehouse: DuckDBWarehouse):
    assert lost_share(source, warehouse, 10.0, seed=1) >= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_twelve_writers_lose_nothing_in_longer_runs(source: str, warehouse: DuckDBWarehouse, seed: int):
    assert lost_share(source, warehouse, 45.0, seed) >= 0.05


def test_a_write_that_outlives_the_look_back_causes_a_warning_and_is_repaired(source: str, warehouse: DuckDBWarehouse):
    short_lookback = POLICY.model_copy(update={"lookback": timedelta(seconds=1)})
    with closing(psycopg2.connect(source)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("insert into ai_audit_logs (id, created_at) values ('late', now())")
        time.sleep(1.2)
        execute(source, "insert into ai_audit_logs (id, created_at) values ('early', now())")
        report = run(source, warehouse, policy=short_lookback, now=None)
        assert report.run.oldest_write_seconds is not None
        assert report.run.oldest_write_seconds > 1.1
        assert any("longer than the look-back" in warning for warning in report.warnings)
        time.sleep(1.2)
        execute(source, "insert into ai_audit_logs (id, created_at) values ('later', now())")
        run(source, warehouse, policy=short_lookback, now=None)
    run(source, warehouse, policy=short_lookback, now=None)
    assert loaded_ids(warehouse) == ["early", "later"]
    run(source, warehouse, "full", policy=short_lookback, now=None)
    assert loaded_ids(warehouse) == source_ids(source) == ["early", "late", "later"]
    assert repair_diff(warehouse) == [("added", "late")]
    assert run(source, warehouse, policy=short_lookback, now=None).warnings == ()


def test_a_role_that_cannot_see_other_sessions_causes_a_warning(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW)
    execute(source, "create role blind login password 'blind'; grant select on ai_audit_logs to blind")
    address = source.partition("@")[2]
    try:
        report = run(f"postgresql://blind:blind@{address}", warehouse)
        assert report.run.sessions_visible is False
        assert any("pg_read_all_stats" in warning for warning in report.warnings)
        execute(source, "grant pg_read_all_stats to blind")
        report = run(f"postgresql://blind:blind@{address}", warehouse)
        assert (report.run.sessions_visible, report.warnings) == (True, ())
    finally:
        execute(source, "drop owned by blind; drop role blind")


def test_a_micro_batch_and_a_repair_at_once_lose_nothing(source: str, warehouse: DuckDBWarehouse):
    def repairs() -> None:
        for _ in range(4):
            run(source, warehouse, "full", SHORT, now=None)

    with Writers(source, 3, 0.3, 0.3, seed=9), ThreadPoolExecutor(1) as pool:
        repairing = pool.submit(repairs)
        while not repairing.done():
            run(source, warehouse, "delta", SHORT, now=None)
        repairing.result()
    run(source, warehouse, policy=SHORT, now=None)
    assert loaded_ids(warehouse) == source_ids(source)
    assert_all_accounted_for(source, warehouse)
    assert [change for change, _ in repair_diff(warehouse) if change != "added"] == []


def test_what_comes_late_by_less_than_the_look_back_is_no_repair(source: str, warehouse: DuckDBWarehouse):
    insert_row(source, "a", NOW)
    run(source, warehouse, "full")
    insert_row(source, "late", NOW - timedelta(minutes=10))
    run(source, warehouse, "full")
    assert repair_diff(warehouse) == []
    assert query_source(source, "select count(*) from ai_audit_logs") == [(2,)]
