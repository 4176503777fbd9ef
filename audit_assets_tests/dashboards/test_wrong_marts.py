"""A mart that is off by one percent, or wrong on one day, is detected, with and without filters."""

from dataclasses import replace
from datetime import timedelta

import pytest

from audit_assets.dashboards.query.reader import SnapshotReader
from audit_assets.dashboards.verify.comparison import verify
from audit_assets.warehouse.snapshot import read_manifest
from audit_assets_tests.dashboards.altered import ONE_PER_CENT, altered
from audit_assets_tests.dashboards.proving import Dashboards
from audit_assets_tests.environments import DAYS


@pytest.mark.requirement("R53")
def test_a_mart_that_is_one_per_cent_off_in_any_number_a_tile_reads_differs_from_raw(dashboards: Dashboards):
    numbers = dashboards.numbers_that_tiles_read()
    assert len(numbers) >= 25, numbers
    unseen: list[str] = []
    for table, column in numbers:
        wrong = dashboards.altered(table, column, f"{column} * {ONE_PER_CENT}")
        found = dashboards.compared(wrong, [dashboards.whole()], dashboards.cases_reading(table))
        if not any(one.agrees is False for one in found):
            unseen.append(f"{table}.{column}")
    assert unseen == []


@pytest.mark.requirement("R53")
def test_a_mart_that_is_one_per_cent_off_in_one_capability_differs_under_its_filter(dashboards: Dashboards):
    (capability,), (workspace,) = dashboards.busiest("capability"), dashboards.busiest("workspace_id")
    manifest = read_manifest(dashboards.snapshot)
    assert manifest is not None
    unseen: list[str] = []
    for table, column in dashboards.numbers_that_tiles_read():
        columns = manifest.columns.get(table, {"capability": ""})
        if "capability" in columns:
            where, scope = f"capability = '{capability}'", dashboards.whole(capability=capability)
        elif "workspace_id" in columns:
            where, scope = f"workspace_id = '{workspace}'", dashboards.whole(workspace=workspace)
        else:
            continue  # coverage is for all workspaces together and has no filters
        wrong = dashboards.altered(table, column, f"{column} * {ONE_PER_CENT}", where)
        found = dashboards.compared(wrong, [scope], dashboards.cases_reading(table))
        if not any(one.agrees is False for one in found):
            unseen.append(f"{table}.{column}")
    assert unseen == []


@pytest.mark.requirement("R53")
def test_a_filter_narrows_what_is_compared(dashboards: Dashboards):
    one, other = dashboards.busiest("capability", 2)
    more = f"interaction_count * {ONE_PER_CENT}"
    wrong = dashboards.altered("ai_audit_daily", "interaction_count", more, f"capability = '{one}'")
    of_one = dashboards.compared(wrong, [dashboards.whole(capability=one)], ["T05", "T07"])
    of_other = dashboards.compared(wrong, [dashboards.whole(capability=other)], ["T05", "T07"])
    assert [found.agrees for found in of_one] == [False, False]
    assert [found.agrees for found in of_other] == [True, True]


# The tile itself must differ, not only the numbers of its mart.
@pytest.mark.requirement("R53")
@pytest.mark.parametrize(
    ("tile", "table", "column"),
    [
        ("T01", "stg_ai_audit_logs", None),
        ("T02", "ai_audit_workspace_counts", None),
        ("T04", "stg_ai_audit_logs", "duration_ms"),
        ("T05", "ai_audit_daily", "interaction_count"),
        ("T06", "ai_audit_daily", "error_count"),
        ("T07", "ai_audit_daily", "interaction_count"),
        ("T08", "ai_audit_workspace_counts", "interaction_count"),
        ("T09", "ai_audit_latency_histogram", "upper_ms"),
        ("T11", "ai_audit_error_funnel", "error_by_flag_only_count"),
        ("T12", "ai_audit_daily", "max_latency_ms"),
        ("T12", "ai_audit_latency_histogram", "upper_ms"),
        ("T13", "ai_audit_workspace_coverage", "coverage_rate"),
        ("T14", "ai_audit_workspace_counts", "interaction_count"),
        ("T14", "ai_audit_workspace_counts", "error_count"),
        ("T17", "ai_audit_workspace_counts", "interaction_count"),
        ("T21", "ai_audit_workspace_counts", "interaction_count"),
        ("T23", "ai_audit_workspace_counts", "interaction_count"),
        ("T28", "ai_audit_latency_histogram", "upper_ms"),
        ("T29", "ai_audit_capability_anomalies", "median_7d"),
        ("T29", "ai_audit_capability_anomalies", "deviation_percent"),
        ("T30", "ai_audit_capability_stats", "interaction_count"),
        ("T31", "ai_audit_latency_histogram", "upper_ms"),
        ("T32", "ai_audit_capability_stats", "success_count"),
        ("T33", "stg_ai_audit_logs", "duration_ms"),
        ("T36", "stg_ai_audit_logs", "prompt_tokens"),
    ],
)
def test_a_tile_differs_when_its_mart_does(dashboards: Dashboards, tile: str, table: str, column: str | None):
    if column is None:  # it counts rows: one in a hundred gets another key or is no longer counted
        key, to = ("environment", "'sim'") if table.startswith("stg") else ("workspace_id", "'somewhere else'")
        wrong = dashboards.altered(table, key, to, "hash(workspace_id) % 100 < 2")
    else:
        wrong = dashboards.altered(table, column, f"{column} * {ONE_PER_CENT}")
    (found,) = dashboards.compared(wrong, [dashboards.whole()], [tile])
    assert found.agrees is False
    assert found.shown != found.raw


@pytest.mark.requirement("R53")
def test_a_state_that_is_wrong_on_one_day_differs(dashboards: Dashboards):
    yesterday = dashboards.now.date() - timedelta(days=1)
    capability, *_ = dashboards.busiest("capability")
    where = f"date = '{yesterday}' and capability = '{capability}'"
    mart, scope = "ai_audit_capability_anomalies", dashboards.whole(capability=capability)
    state = "case deviation_state when 'spike' then 'drop' else 'spike' end"
    wrong = dashboards.altered(mart, "deviation_state", state, where)
    assert [one.agrees for one in dashboards.compared(wrong, [scope], ["T25", "T29"])] == [False, False]
    grave = dashboards.altered(mart, "severity", "coalesce(severity || 'est', 'high')", where)
    assert [one.agrees for one in dashboards.compared(grave, [scope], ["T27", "T29"])] == [False, False]


@pytest.mark.requirement("R53")
def test_a_registry_with_a_wrong_first_seen_time_differs(dashboards: Dashboards):
    news = dashboards.altered("ai_audit_capabilities", "registered_silently", "false")
    first_week = replace(dashboards.whole(), last=dashboards.now.date() - timedelta(days=DAYS - 5))
    reader = SnapshotReader(news)
    arguments = (dashboards.definition, dashboards.reconciliation)
    (agreed,) = verify(*arguments, reader, [first_week], ["T24"])
    assert (agreed.agrees, int(agreed.shown) > 5) == (True, True)
    folder = dashboards.new_folder()
    later = altered(news, folder, "ai_audit_capabilities", "first_seen_at", "first_seen_at + interval 9 day")
    (forgot,) = verify(*arguments, SnapshotReader(later), [first_week], ["T24"])
    assert (forgot.agrees, forgot.shown) == (False, "new_capabilities 0")
