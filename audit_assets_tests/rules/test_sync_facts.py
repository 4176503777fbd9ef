"""The facts on the sync itself, by a clock that stands still."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from audit_assets.rules.calendar import read_calendar
from audit_assets.rules.sync_facts import SYNC_FACTS_SCHEMA, sync_facts
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.protocol import SyncRow

pytestmark = pytest.mark.requirement("R35")

CALENDAR = read_calendar(PROJECT_ROOT / "observability/alerts/calendar.yaml")
PACIFIC = ZoneInfo("America/Los_Angeles")
LOOKBACK = timedelta(minutes=15)


def pacific(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PACIFIC).astimezone(UTC)


NOW = pacific("2026-11-17 12:00")  # a Tuesday


def ago(minutes: float, now: datetime = NOW) -> datetime:
    return now - timedelta(minutes=minutes)


def success(synced: datetime, **told: Any) -> SyncRow:
    """A delta that took two seconds and read all there was: the newest row is half a minute old."""
    newest = synced - timedelta(seconds=30)
    row = SyncRow(
        sync_id=f"success at {synced}", mode="delta", status="succeeded", window_end=synced + timedelta(minutes=10),
        started_at=synced - timedelta(seconds=2), last_synced_at=synced, sync_duration_ms=2000,
        source_max_created_at=newest, watermark=newest, oldest_write_seconds=None, sessions_visible=True,
    )  # fmt: skip
    return replace(row, **told)


def failure(at: datetime, **told: Any) -> SyncRow:
    """A delta that found no source after three seconds; the watermark is what it was."""
    row = SyncRow(
        sync_id=f"failure at {at}", mode="delta", status="failed", window_end=None,
        started_at=at - timedelta(seconds=3), last_synced_at=None, sync_duration_ms=3000,
        source_max_created_at=None, watermark=at - timedelta(hours=1),
        oldest_write_seconds=None, sessions_visible=None,
    )  # fmt: skip
    return replace(row, **told)


def running(at: datetime) -> SyncRow:
    return replace(success(at), sync_id=f"running at {at}", status="running")


def facts(*rows: SyncRow, now: datetime = NOW) -> dict[str, Any]:
    """The one row, whatever the order of what went in."""
    frame = sync_facts(rows, CALENDAR, LOOKBACK, now, "production")
    assert dict(frame.schema) == dict(SYNC_FACTS_SCHEMA)
    assert frame.equals(sync_facts(rows[::-1], CALENDAR, LOOKBACK, now, "production"))
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
        "minutes_since_failure": None,
        "oldest_write_minutes": None,
        "lookback_minutes": 15,
        "sessions_visible": True,
        "in_business_hours": True,
    }


def test_a_quiet_night_is_no_outage():
    """Nobody has written since the evening; the sync has looked all night."""
    now, evening = pacific("2026-11-17 03:00"), pacific("2026-11-16 21:00")
    found = facts(success(ago(1, now), source_max_created_at=evening, watermark=evening), now=now)
    assert (found["minutes_since_sync"], found["minutes_behind_source"]) == (1, 0)
    assert (found["business_minutes_since_sync"], found["in_business_hours"]) == (0, False)


def test_a_sync_that_stood_still_all_night_is_stale_by_the_hours_of_work_only():
    now = pacific("2026-11-17 08:03")
    found = facts(success(pacific("2026-11-16 18:59")), now=now)
    assert (found["minutes_since_sync"], found["business_minutes_since_sync"]) == (13 * 60 + 4, 4)
    assert found["in_business_hours"] is True


def test_a_sync_of_an_empty_source_is_fresh_and_how_far_behind_is_not_known():
    found = facts(success(ago(2), source_max_created_at=None, watermark=None))
    assert (found["ever_synced"], found["minutes_since_sync"], found["failed_in_a_row"]) == (True, 2, 0)
    assert found["minutes_behind_source"] is None


def test_no_sync_ever_is_said_and_no_figure_is_invented():
    found = facts()
    assert (found["ever_synced"], found["failed_in_a_row"], found["lookback_minutes"]) == (False, 0, 15)
    unknown = {name for name, value in found.items() if value is None}
    assert unknown == {
        "minutes_since_sync",
        "business_minutes_since_sync",
        "minutes_behind_source",
        "minutes_since_failure",
        "oldest_write_minutes",
        "sessions_visible",
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
    # What it found out about the source is not told before it ends.
    assert facts(success(ago(2), sessions_visible=False), running(ago(0)))["sessions_visible"] is False


def test_a_long_repair_that_failed_after_newer_deltas_succeeded_counts_until_the_next():
    repair = failure(ago(1), mode="full", started_at=ago(41), sync_duration_ms=40 * 60_000)
    assert facts(success(ago(2)), repair)["failed_in_a_row"] == 1
    assert facts(success(ago(2)), repair)["minutes_since_failure"] == 1
    assert facts(success(ago(2)), repair, success(ago(0.5)))["failed_in_a_row"] == 0


def test_loading_days_of_last_year_makes_nothing_fresh():
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


def test_a_write_that_outlives_the_look_back_is_told_in_minutes():
    found = facts(success(ago(1), oldest_write_seconds=1200.0), success(ago(5), oldest_write_seconds=30.0))
    assert (found["oldest_write_minutes"], found["lookback_minutes"]) == (20, 15)


def test_a_role_that_cannot_see_sessions_is_told_and_not_knowing_is_something_else():
    assert facts(success(ago(1), sessions_visible=False))["sessions_visible"] is False
    assert facts(success(ago(2)), failure(ago(1)))["sessions_visible"] is None


def test_a_holiday_is_out_of_business_hours():
    found = facts(now=pacific("2026-11-26 12:00"))
    assert found["in_business_hours"] is False


def test_a_now_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="now has no time zone"):
        sync_facts([], CALENDAR, LOOKBACK, datetime(2026, 11, 17), "local")  # noqa: DTZ001


def test_the_columns_arrive_as_expressions_can_use_them():
    numeric = {name for name, dtype in SYNC_FACTS_SCHEMA.items() if dtype.is_numeric()}
    assert {name for name in SYNC_FACTS_SCHEMA if "minutes" in name} | {"failed_in_a_row"} == numeric
    assert sync_facts([], CALENDAR, LOOKBACK, NOW, "local").filter(pl.col("minutes_since_sync") > 5).height == 0
