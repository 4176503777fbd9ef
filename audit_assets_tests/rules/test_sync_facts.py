"""The facts on the sync itself, with a fixed clock."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from audit_assets.rules.business_clock import read_calendar
from audit_assets.rules.facts import DAGSTER_TABLES, TABLES, add_new_capabilities
from audit_assets.rules.judge import RuleResult, judge, judge_all
from audit_assets.rules.pipeline_facts import SYNC_FACTS_SCHEMA, sync_facts, sync_facts_history
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.protocol import Discrepancy, SyncRun
from audit_assets_tests.rules.factories import shipped, shipped_rules

pytestmark = pytest.mark.requirement("R35")

CALENDAR = read_calendar(PROJECT_ROOT / "observability/alerts/calendar.yaml")
PACIFIC = ZoneInfo("America/Los_Angeles")
LOOKBACK = timedelta(minutes=15)


def pacific(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PACIFIC).astimezone(UTC)


NOW = pacific("2026-11-17 12:00")  # a Tuesday


def ago(minutes: float, now: datetime = NOW) -> datetime:
    return now - timedelta(minutes=minutes)


def success(synced: datetime, **overrides: Any) -> SyncRun:
    """A delta that took two seconds and read every row; the newest row is half a minute old."""
    newest = synced - timedelta(seconds=30)
    row = SyncRun(
        sync_id=f"success at {synced}", mode="delta", status="succeeded",
        window_start=synced - timedelta(hours=1), window_end=synced + timedelta(minutes=10),
        started_at=synced - timedelta(seconds=2), last_synced_at=synced, sync_duration_ms=2000,
        source_max_created_at=newest, watermark=newest, oldest_write_seconds=None, sessions_visible=True,
    )  # fmt: skip
    return replace(row, **overrides)


def failure(at: datetime, **overrides: Any) -> SyncRun:
    """A delta that failed after three seconds without reaching the source; the watermark is unchanged."""
    row = SyncRun(
        sync_id=f"failure at {at}", mode="delta", status="failed", window_start=None, window_end=None,
        started_at=at - timedelta(seconds=3), last_synced_at=None, sync_duration_ms=3000,
        source_max_created_at=None, watermark=at - timedelta(hours=1),
        oldest_write_seconds=None, sessions_visible=None, error="the source does not answer",
    )  # fmt: skip
    return replace(row, **overrides)


def repair(ended: datetime, **overrides: Any) -> SyncRun:
    """A nightly repair of ten minutes that read back two days."""
    begun = ended - timedelta(minutes=10)
    row = success(ended, mode="full", started_at=begun, window_start=begun - timedelta(days=2))
    return replace(row, sync_id=f"repair at {ended}", **overrides)


def failed_repair(at: datetime, **overrides: Any) -> SyncRun:
    row = failure(at, mode="full", error="no space left for warehouse.duckdb")
    return replace(row, sync_id=f"failed repair at {at}", **overrides)


def running(at: datetime) -> SyncRun:
    return replace(success(at), sync_id=f"running at {at}", status="running")


def facts(*rows: SyncRun, now: datetime = NOW) -> dict[str, Any]:
    """The row of facts; asserts that it does not depend on the order of the runs."""
    frame = sync_facts(rows, CALENDAR, LOOKBACK, now, "production", ())
    assert dict(frame.schema) == dict(SYNC_FACTS_SCHEMA)
    assert frame.equals(sync_facts(rows[::-1], CALENDAR, LOOKBACK, now, "production", ()))
    (row,) = frame.to_dicts()
    return row


def test_a_sync_that_works_is_fresh():
    assert facts(success(ago(3)), success(ago(1))) == {
        "judged_at": NOW,
        "environment": "production",
        "ever_synced": True,
        "minutes_since_sync": 1,
        "business_minutes_since_sync": 1,
        "minutes_behind_source": 0,
        "failed_in_a_row": 0,
        "failed_mode": None,
        "last_error": None,
        "hours_since_repair": 0.05,
        "minutes_since_failure": None,
        "oldest_write_minutes": 0,
        "lookback_minutes": 15,
        "held_removals": 0,
        "days_with_held_removals": 0,
        "days_that_differ": None,  # no full sync has compared the days
        "sessions_visible": True,
        "in_business_hours": True,
        "clock_skew_seconds": None,
        "is_replica": None,
        "replay_lag_minutes": None,
    }


def test_a_sync_that_no_model_has_read_does_not_count_as_fresh():
    rows = [success(ago(1)), failure(ago(30))]
    (row,) = sync_facts(rows, CALENDAR, LOOKBACK, NOW, "production", built_from=ago(60)).to_dicts()
    assert (row["minutes_since_sync"], row["business_minutes_since_sync"]) == (60, 60)
    assert row["failed_in_a_row"] == 0, "the sync itself works"
    (row,) = sync_facts([success(ago(9))], CALENDAR, LOOKBACK, NOW, "production", built_from=ago(1)).to_dicts()
    assert row["minutes_since_sync"] == 9, "models that are built again make the rows no newer"


def test_a_night_without_new_rows_is_not_an_outage():
    """No row was written since the evening; the sync ran all night."""
    now, evening = pacific("2026-11-17 03:00"), pacific("2026-11-16 21:00")
    found = facts(success(ago(1, now), source_max_created_at=evening, watermark=evening), now=now)
    assert (found["minutes_since_sync"], found["minutes_behind_source"]) == (1, 0)
    assert (found["business_minutes_since_sync"], found["in_business_hours"]) == (0, False)


def test_a_sync_that_stopped_overnight_is_stale_by_business_minutes_only():
    now = pacific("2026-11-17 08:03")
    found = facts(success(pacific("2026-11-16 18:59")), now=now)
    assert (found["minutes_since_sync"], found["business_minutes_since_sync"]) == (13 * 60 + 4, 4)
    assert found["in_business_hours"] is True


def test_a_sync_of_an_empty_source_is_fresh_and_how_far_behind_is_not_known():
    found = facts(success(ago(2), source_max_created_at=None, watermark=None))
    assert (found["ever_synced"], found["minutes_since_sync"], found["failed_in_a_row"]) == (True, 2, 0)
    assert found["minutes_behind_source"] is None


def test_without_any_sync_all_figures_are_null():
    found = facts()
    assert (found["ever_synced"], found["failed_in_a_row"], found["lookback_minutes"]) == (False, 0, 15)
    unknown = {name for name, value in found.items() if value is None}
    assert unknown == {
        "minutes_since_sync",
        "business_minutes_since_sync",
        "days_that_differ",
        "minutes_behind_source",
        "minutes_since_failure",
        "failed_mode",
        "last_error",
        "hours_since_repair",
        "oldest_write_minutes",
        "sessions_visible",
        "clock_skew_seconds",
        "is_replica",
        "replay_lag_minutes",
    }


def test_failing_three_times_in_a_row_is_counted_from_the_last_success():
    rows = [failure(ago(minutes)) for minutes in (90, 6, 4, 2)] + [success(ago(10)), success(ago(12))]
    found = facts(*rows)
    assert (found["failed_in_a_row"], found["minutes_since_failure"], found["minutes_since_sync"]) == (3, 2, 10)
    assert facts(*rows, success(ago(1)))["failed_in_a_row"] == 0


def test_failures_with_no_success_before_them_all_count():
    found = facts(failure(ago(4)), failure(ago(2)))
    assert (found["ever_synced"], found["failed_in_a_row"]) == (False, 2)


def test_a_run_that_is_running_or_died_is_neither_success_nor_failure():
    found = facts(success(ago(9)), failure(ago(5)), running(ago(3)), failure(ago(1)), running(ago(0)))
    assert (found["minutes_since_sync"], found["failed_in_a_row"]) == (9, 2)
    assert facts(running(ago(1)))["ever_synced"] is False
    # Its measurements of the source are not reported before it ends.
    assert facts(success(ago(2), sessions_visible=False), running(ago(0)))["sessions_visible"] is False


def test_a_long_repair_that_failed_after_newer_deltas_succeeded_counts_until_the_next_repair():
    failed = failure(ago(1), mode="full", started_at=ago(41), sync_duration_ms=40 * 60_000)
    assert facts(success(ago(2)), failed)["failed_in_a_row"] == 1
    assert facts(success(ago(2)), failed)["minutes_since_failure"] == 1
    after = success(ago(0.5), mode="full", started_at=ago(20))
    assert facts(success(ago(2)), failed, after)["failed_in_a_row"] == 0


def nights(count: int) -> list[datetime]:
    """The end times of `count` nightly repairs, newest last."""
    return [ago(60 * 24 * back + 600) for back in range(count - 1, -1, -1)]


def test_nightly_repairs_that_fail_are_counted_however_many_deltas_succeed_between_them():
    deltas = [success(night + timedelta(hours=hours)) for night in nights(14) for hours in (1, 9)]
    found = facts(repair(ago(60 * 24 * 15)), *deltas, *map(failed_repair, nights(14)))
    assert (found["failed_in_a_row"], found["failed_mode"]) == (14, "full")
    assert found["last_error"] == "no space left for warehouse.duckdb"
    assert found["minutes_since_sync"] < 120, "the deltas work"
    assert facts(*map(failed_repair, nights(14)), *deltas, repair(ago(1)))["failed_in_a_row"] == 0


def test_a_good_retry_of_the_same_mode_ends_the_count_and_another_mode_does_not():
    failed = [failed_repair(ago(30)), failed_repair(ago(20))]
    assert facts(*failed, success(ago(10)))["failed_in_a_row"] == 2
    assert facts(*failed, success(ago(10), mode="days"))["failed_in_a_row"] == 2
    retried = facts(*failed, repair(ago(10)))
    assert (retried["failed_in_a_row"], retried["failed_mode"], retried["last_error"]) == (0, None, None)


def test_a_repair_that_works_has_done_the_work_of_deltas_and_days():
    failed = [failure(ago(30)), failure(ago(25)), failure(ago(26), mode="days", sync_id="days")]
    assert facts(success(ago(60)), *failed)["failed_in_a_row"] == 2
    assert facts(success(ago(60)), *failed, repair(ago(10)))["failed_in_a_row"] == 0


def test_the_mode_that_fails_most_is_named_with_its_newest_error():
    older = failure(ago(9), error="the source does not answer")
    newer = failure(ago(8), error="password authentication failed")
    found = facts(failed_repair(ago(7)), older, newer)
    assert (found["failed_in_a_row"], found["failed_mode"], found["last_error"]) == (
        2,
        "delta",
        "password authentication failed",
    )


@pytest.mark.parametrize(
    ("rows", "hours"),
    [
        ([], None),
        ([failure(ago(5000))], None),
        ([success(ago(60 * 40)), success(ago(1))], 40),
        ([success(ago(60 * 90)), repair(ago(60 * 37)), success(ago(1))], 37),
        ([repair(ago(60 * 37)), failed_repair(ago(60 * 13)), success(ago(1))], 37),
        ([repair(ago(60 * 37)), repair(ago(60 * 13))], 13),
        ([repair(ago(60 * 90)), repair(ago(60), window_start=ago(60 * 3))], 90),
        ([repair(ago(-5))], 0),
    ],
    ids=[
        "no sync", "no sync that succeeded", "never repaired", "repaired", "failed since", "repaired again",
        "a repair that left a hole is none", "a clock that was set back",
    ],
)  # fmt: skip
def test_the_age_of_the_last_good_repair_is_known_in_hours(rows: list[SyncRun], hours: float | None):
    assert facts(*rows)["hours_since_repair"] == hours


def nightly(count: int) -> list[SyncRun]:
    """Repairs of 3 hours at 02:00 Pacific and hourly deltas; a failed attempt before every fifth repair."""
    rows: list[SyncRun] = []
    for back in range(count):
        begun = (pacific("2026-11-17 02:00").astimezone(PACIFIC) - timedelta(days=back)).astimezone(UTC)
        ended = begun + timedelta(hours=3)
        rows += [success(begun + timedelta(hours=hour), window_start=begun) for hour in range(1, 24)]
        rows.append(repair(ended, started_at=begun, window_start=begun - timedelta(days=2)))
        rows += [failed_repair(begun)] if back % 5 == 0 else []
    return rows


def test_sixty_nights_over_a_change_of_clocks_fire_nothing_and_one_night_without_a_repair_does():
    rule, rows = shipped("repair_overdue"), nightly(60)
    frame = sync_facts_history(rows, CALENDAR, LOOKBACK, NOW, timedelta(minutes=30), "live")
    assert max(frame["hours_since_repair"].to_list()) < 30
    result = judge(rule, frame, NOW, CALENDAR)
    assert isinstance(result, RuleResult)
    assert result.episodes == ()
    missed = [row for row in rows if row.mode != "full" or not ago(60 * 24) < row.started_at < NOW]
    (row,) = sync_facts(missed, CALENDAR, LOOKBACK, ago(-60), "live").to_dicts()
    assert row["hours_since_repair"] > 31
    late = judge(rule, sync_facts(missed, CALENDAR, LOOKBACK, ago(-60 * 7), "live"), ago(-60 * 7), CALENDAR)
    assert isinstance(late, RuleResult)
    assert len(late.episodes) == 1


def test_loading_days_of_last_year_does_not_count_as_fresh():
    backfill = success(ago(1), mode="days", window_end=NOW - timedelta(days=365))
    found = facts(success(ago(30)), failure(ago(20)), backfill)
    assert (found["minutes_since_sync"], found["failed_in_a_row"]) == (30, 1)
    assert facts(backfill)["ever_synced"] is False
    today = success(ago(1), mode="days", window_end=NOW + timedelta(minutes=9))
    assert facts(success(ago(30)), today)["minutes_since_sync"] == 1


def test_how_far_behind_is_from_the_watermark_to_the_sources_newest_row():
    assert facts(success(ago(1), source_max_created_at=ago(2), watermark=ago(9.5)))["minutes_behind_source"] == 7.5
    failed_late = failure(ago(1), source_max_created_at=ago(2), watermark=ago(62))
    assert facts(success(ago(60)), failed_late)["minutes_behind_source"] == 60
    found_no_source = failure(ago(1))
    assert facts(success(ago(60)), found_no_source)["minutes_behind_source"] is None


def test_a_row_dated_ahead_by_a_clients_clock_is_not_unread_traffic():
    ahead = success(ago(1), source_max_created_at=ago(-8), watermark=ago(1))
    assert facts(ahead)["minutes_behind_source"] == 0


def test_a_clock_that_was_set_back_makes_no_negative_minutes():
    found = facts(success(ago(-30)), failure(ago(-20)))
    figures = ("minutes_since_sync", "business_minutes_since_sync", "minutes_behind_source", "minutes_since_failure")
    assert [found[name] for name in figures] == [0, 0, 0, 0]


@pytest.mark.parametrize(("friday", "monday"), [("2026-03-06", "2026-03-09"), ("2026-10-30", "2026-11-02")])
def test_a_weekend_on_which_clocks_move_counts_as_any_other_in_hours_of_work(friday: str, monday: str):
    now = pacific(f"{monday} 09:30")
    found = facts(success(pacific(f"{friday} 18:30")), now=now)
    assert found["business_minutes_since_sync"] == 120
    moved = 60 if friday < "2026-06" else -60
    assert found["minutes_since_sync"] == 63 * 60 - moved


def test_a_write_longer_than_the_lookback_is_reported_in_minutes():
    found = facts(success(ago(1), oldest_write_seconds=1200.0), success(ago(5), oldest_write_seconds=30.0))
    assert (found["oldest_write_minutes"], found["lookback_minutes"]) == (20, 15)


def test_a_role_that_cannot_see_sessions_is_false_and_unknown_is_null():
    assert facts(success(ago(1), sessions_visible=False))["sessions_visible"] is False
    assert facts(success(ago(2)), failure(ago(1)))["sessions_visible"] is None


def test_clocks_and_replay_are_those_of_the_newest_run_that_reached_the_source():
    measured = success(ago(4), clock_skew_seconds=-90.0, is_replica=True, replay_lag_seconds=600.0)
    older = success(ago(8), clock_skew_seconds=0.0, is_replica=True, replay_lag_seconds=0.0)
    unfinished = replace(running(ago(1)), clock_skew_seconds=0.0, is_replica=False)
    found = facts(older, measured, failure(ago(2)), unfinished)
    assert (found["clock_skew_seconds"], found["is_replica"], found["replay_lag_minutes"]) == (-90, True, 10)
    found = facts(measured, success(ago(1), clock_skew_seconds=0.1, is_replica=False))
    assert (found["is_replica"], found["replay_lag_minutes"]) == (False, 0), "the primary is read now"


@pytest.mark.parametrize(
    ("measured", "firing"),
    [
        ({"clock_skew_seconds": 45.0}, {"source_clock_skew"}),
        ({"clock_skew_seconds": -7200.0}, {"source_clock_wrong"}),
        ({"clock_skew_seconds": 0.2, "is_replica": True, "replay_lag_seconds": 3600.0}, {"source_replica_lag"}),
        ({"clock_skew_seconds": 0.2, "is_replica": True, "replay_lag_seconds": 0.0}, set[str]()),
    ],
)
def test_a_source_that_lags_or_has_a_wrong_clock_is_distinguished_from_a_quiet_one(
    measured: dict[str, Any], firing: set[str]
):
    """Two hours of silence in business hours count as product silence only if the source is healthy."""
    silent = {"business_minutes_silent": 130.0, "expected_since_last": 50.0}
    tables = {name: _one_row(name, NOW, {}) for name in TABLES if name not in DAGSTER_TABLES}
    tables["ai_audit_total_grid"] = _one_row("ai_audit_total_grid", NOW - timedelta(minutes=15), silent)
    tables["ai_audit_sync_state"] = add_new_capabilities(
        sync_facts([success(ago(1), **measured)], CALENDAR, LOOKBACK, NOW, "live", ()), None
    )
    watched = {"source_clock_skew", "source_clock_wrong", "source_replica_lag", "no_recent_logs"}
    outcomes = {one.rule_id: one for one in judge_all(shipped_rules(), tables, NOW, CALENDAR) if one.rule_id in watched}
    ready = {name: one for name, one in outcomes.items() if isinstance(one, RuleResult) and not one.not_ready}
    found = {name for name, one in ready.items() if one.episodes}
    silence = outcomes["no_recent_logs"]
    assert isinstance(silence, RuleResult)
    assert set(silence.not_ready) == firing - {"source_clock_skew"}
    assert found == firing | (set() if silence.not_ready else {"no_recent_logs"})


def _one_row(table: str, at: datetime, figures: dict[str, Any]) -> pl.DataFrame:
    watched = TABLES[table]
    start = at.date() if watched.time == "date" else at
    row = {**dict.fromkeys(watched.schema), watched.time: start, "capability": "chat", "environment": "live", **figures}
    known = {name: value for name, value in row.items() if name in watched.schema}
    return pl.DataFrame([known], schema=dict(watched.schema), orient="row")


def test_a_holiday_is_out_of_business_hours():
    found = facts(now=pacific("2026-11-26 12:00"))
    assert found["in_business_hours"] is False


def test_a_now_without_a_zone_is_rejected():
    with pytest.raises(ValueError, match="now has no time zone"):
        sync_facts([], CALENDAR, LOOKBACK, datetime(2026, 11, 17), "local")  # noqa: DTZ001


def test_held_removals_are_counted_and_null_when_not_checked():
    def held(table: str, day: date | None, rows: int) -> Discrepancy:
        return Discrepancy(table, day, "removal_held", rows, NOW, NOW)

    day = date(2026, 11, 1)
    known = (held("ai_audit_logs", day, 5), held("ai_audit_logs", date(2026, 11, 2), 2), held("workspaces", None, 3))
    differs = (*known, Discrepancy("ai_audit_logs", day, "rows_differ", 0, NOW, NOW))
    for discrepancies, counted in (
        (known, (10, 3, 0)), (differs, (10, 3, 1)), ((), (0, 0, 0)), (None, (None, None, None)),
    ):  # fmt: skip
        (row,) = sync_facts([repair(ago(60))], CALENDAR, LOOKBACK, NOW, "local", discrepancies).to_dicts()
        assert (row["held_removals"], row["days_with_held_removals"], row["days_that_differ"]) == counted


def test_days_that_differ_is_null_before_the_first_full_sync():
    assert facts(success(ago(1)), failed_repair(ago(60)))["days_that_differ"] is None
    assert facts(success(ago(1)), repair(ago(60)))["days_that_differ"] == 0


_COUNTED = {"failed_in_a_row", "hours_since_repair", "held_removals", "days_with_held_removals", "days_that_differ"}


def test_the_columns_arrive_as_expressions_can_use_them():
    numeric = {name for name, dtype in SYNC_FACTS_SCHEMA.items() if dtype.is_numeric()}
    assert {name for name in SYNC_FACTS_SCHEMA if "minutes" in name or "seconds" in name} | _COUNTED == numeric
    assert sync_facts([], CALENDAR, LOOKBACK, NOW, "local").filter(pl.col("minutes_since_sync") > 5).height == 0
