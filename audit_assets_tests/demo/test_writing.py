"""Writing synthetic rows to the source: in bulk, continued, and live."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.demo.population import DORMANT, SILENT
from audit_assets.demo.source_tables import SourceError, connect
from audit_assets.demo.traffic import first_instant, traffic
from audit_assets.demo.writing import live, write, write_population

pytestmark = pytest.mark.requirement("R01")

END = datetime(2026, 11, 18, 21, 40, tzinfo=UTC)


def query(url: str, statement: str):
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_every_row_made_is_in_the_table(source: str):
    heard: list[int] = []
    frames = list(traffic(1, END, days=3, rows_per_day=500))
    assert write(source, frames, heard.append) == sum(map(len, frames))
    assert heard == [len(frame) for frame in frames]
    in_table = query(source, "select id, created_at, response_metadata->>'status' from ai_audit_logs")
    made = [row for frame in frames for row in frame.select("id", "created_at").iter_rows()]
    assert sorted((row[0], row[1]) for row in in_table) == sorted(made)


def test_traffic_made_again_adds_nothing_and_continued_adds_what_is_new(source: str):
    first = write(source, traffic(1, END, days=2, rows_per_day=500, inject=False), lambda _: None)
    assert write(source, traffic(1, END, days=2, rows_per_day=500, inject=False), lambda _: None) == 0
    later = END + timedelta(hours=2)
    added = write(source, traffic(1, later, days=2, rows_per_day=500, inject=False), lambda _: None)
    assert added > 0
    newer = f"select count(*) from ai_audit_logs where created_at > '{END.isoformat()}'"
    assert query(source, newer) == [(added,)]
    assert query(source, "select count(*) from ai_audit_logs") == [(first + added,)]


def test_workspaces_remember_when_they_were_last_used(source: str):
    write_population(source, 1, first_instant(END, 2), END)
    write_population(source, 1, first_instant(END, 2), END)
    write(source, traffic(1, END, days=2, rows_per_day=500), lambda _: None)
    assert query(source, "select count(*), count(team) from workflows") == [(500, 500)]
    assert query(source, "select count(*) from workspace_data_snapshots") == [(3000,)]
    wrong = """
        select w.id from workflows as w
        join (select workflow_id, max(created_at) as used from ai_audit_logs group by 1) as l on l.workflow_id = w.id
        where w.last_accessed_at is distinct from l.used"""
    assert query(source, wrong) == []
    assert query(source, "select count(*) > 0 from workflows where last_accessed_at is null") == [(True,)]


@pytest.mark.requirement("R24")
def test_a_few_workspaces_are_visited_without_a_record_and_some_are_dormant(source: str):
    write_population(source, 1, first_instant(END, 14), END)
    write(source, traffic(1, END, days=14, rows_per_day=2000), lambda _: None)
    lately, recorded = (
        "w.last_accessed_at > %s - interval '14 days'",
        "(select workflow_id from ai_audit_logs where workflow_id is not null)",
    )
    found = query(
        source,
        f"""select count(*) filter (where {lately}), count(*) filter (where {lately} and w.id in {recorded}),
            count(*) filter (where w.id not in {recorded} and not {lately})
        from workflows as w""".replace("%s", f"timestamptz '{END.isoformat()}'"),
    )
    ((active, covered, dormant),) = found
    assert (active - covered, dormant) == (SILENT, DORMANT)
    assert 0.85 < covered / active < 0.95


def test_live_traffic_flows_at_its_rate_with_the_sources_clock_and_is_seen_at_once(source: str):
    stopped = threading.Event()
    counted: list[int] = []
    writer = threading.Thread(target=lambda: counted.append(live(source, 200, 1, stopped.is_set)))
    began = time.monotonic()
    writer.start()
    try:
        while query(source, "select count(*) from ai_audit_logs")[0][0] < 100:
            assert time.monotonic() - began < 30
            time.sleep(0.05)
        [(early,)] = query(source, "select count(*) from ai_audit_logs where created_at > now()")
    finally:
        stopped.set()
        writer.join(timeout=30)
    assert early == 0
    assert query(source, "select count(*), count(distinct id) from ai_audit_logs") == [(counted[0],) * 2]
    assert counted[0] <= 200 * (time.monotonic() - began)


def test_live_traffic_goes_on_where_the_same_seed_ran_before(source: str):
    def once() -> int:
        turns = iter([False] * 4)
        return live(source, 100, 1, lambda: next(turns, True))

    assert query(source, "select count(*) from ai_audit_logs") == [(0,)]
    assert once() + once() == query(source, "select count(*) from ai_audit_logs")[0][0] > 0


def test_a_rate_of_nothing_is_refused(source: str):
    with pytest.raises(ValueError, match="rate = 0"):
        live(source, 0, 1, lambda: True)


def test_a_source_that_is_down_is_reported_without_its_password(source: str):
    url = "postgresql://someone:secret@127.0.0.1:1/app"
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1/app cannot be reached.*AI_AUDIT_SOURCE_URL") as down:
        write(url, [], lambda _: None)
    assert "secret" not in str(down.value)
