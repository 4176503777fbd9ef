"""ai_audit_capability_anomalies, compared with figures computed by hand."""

from datetime import date, timedelta

import pytest

from audit_assets_tests.models.conftest import Models, rows_of_day

MARTS = ("ai_audit_capability_anomalies",)

TODAY = date(2026, 11, 5)  # a Thursday
YESTERDAY = TODAY - timedelta(days=1)


def load_history(models: Models, counts: dict[date, int], capability: str = "summarise") -> None:
    rows = [row for day, count in counts.items() for row in rows_of_day(str(day), count, capability=capability)]
    models.load(rows)


def days_before(day: date, counts: list[int]) -> dict[date, int]:
    """`counts` by day, oldest first, for the days that end before `day`."""
    return {day - timedelta(days=len(counts) - n): count for n, count in enumerate(counts)}


def judged(models: Models, day: date, columns: str, capability: str = "summarise") -> tuple[object, ...]:
    rows = models.query(
        f"select {columns} from ai_audit_capability_anomalies where date = '{day}' and capability = '{capability}'"
    )
    assert len(rows) == 1
    return rows[0]


@pytest.mark.requirement("R23")
def test_a_day_deviates_beyond_its_multiple_of_the_median(models: Models):
    expected = {
        70: ("normal", None),  # exactly 1.75 × 40 is not above it
        71: ("spike", "low"),  # below 2.25 × 40 = 90
        90: ("spike", "medium"),
        120: ("spike", "high"),  # 3 × 40, and 120 of volume
        16: ("normal", None),  # exactly 0.4 × 40 is not below it
        15: ("drop", "low"),
        10: ("drop", "medium"),  # a quarter
        4: ("drop", "medium"),  # a tenth, but the volume of 40 is below 100
    }
    for count in expected:
        load_history(models, days_before(YESTERDAY, [40] * 14) | {YESTERDAY: count}, f"count-{count}")
    models.rebuild()
    columns = "deviation_state, severity, evaluation_status, median_7d, median_14d, z_score"
    for count, (state, severity) in expected.items():
        found = judged(models, YESTERDAY, columns, f"count-{count}")
        assert found == (state, severity, "ok", 40.0, 40.0, None)


@pytest.mark.requirement("R23")
def test_baselines_are_the_days_before_and_a_window_of_days_not_of_rows(models: Models):
    week = [10, 20, 30, 40, 50, 60, 70]
    load_history(models, days_before(YESTERDAY, [8] * 7 + week) | {YESTERDAY: 1000})
    models.rebuild()
    found = judged(models, YESTERDAY, "median_7d, median_14d, mean_7d, deviation_percent")
    # Of the 14 days, 8 × 7 and 10 to 70, the middle two are 8 and 10.
    assert found == (40.0, 9.0, 40.0, 2400.0)
    stddev, z_score = judged(models, YESTERDAY, "stddev_7d, z_score")
    assert stddev == pytest.approx((2800 / 6) ** 0.5)  # 900 + 400 + 100, twice, over n - 1
    assert z_score == pytest.approx(960 / (2800 / 6) ** 0.5)


@pytest.mark.requirement("R23")
def test_a_day_of_total_outage_is_a_row_and_a_drop(models: Models):
    load_history(models, days_before(YESTERDAY, [40] * 10))
    models.rebuild()
    columns = "interaction_count, deviation_state, deviation_percent, evaluation_status"
    assert judged(models, YESTERDAY, columns) == (0, "drop", -100.0, "ok")


@pytest.mark.requirement("R23")
def test_the_running_day_may_be_a_spike_but_never_a_drop(models: Models):
    load_history(models, days_before(TODAY, [40] * 10) | {TODAY: 3}, "slow")
    load_history(models, days_before(TODAY, [40] * 10) | {TODAY: 100}, "fast")
    models.rebuild()
    columns = "deviation_state, evaluation_status"
    assert judged(models, TODAY, columns, "slow") == ("normal", "incomplete_day")
    assert judged(models, TODAY, columns, "fast") == ("spike", "incomplete_day")


@pytest.mark.requirement("R23")
def test_under_seven_days_of_history_nothing_is_to_be_judged(models: Models):
    load_history(models, days_before(YESTERDAY, [40] * 6) | {YESTERDAY: 400})
    models.rebuild()
    columns = "deviation_state, evaluation_status, severity, z_score, median_7d"
    assert judged(models, YESTERDAY, columns) == ("spike", "insufficient_history", "low", None, 40.0)


@pytest.mark.requirement("R23")
def test_like_days_leave_out_an_outage_and_are_not_moved_by_a_spike(models: Models):
    history = days_before(YESTERDAY, [50] * 42)
    weeks = [YESTERDAY - timedelta(days=7 * n) for n in range(1, 7)]
    # Newest first: an outage, a spike, then 80 90 100 110. Of 80 90 100 110 900 the median is 100.
    history |= dict(zip(weeks, [0, 900, 80, 90, 100, 110], strict=True)) | {YESTERDAY: 60}
    load_history(models, history)
    models.rebuild()
    assert judged(models, YESTERDAY, "like_day_median, like_day_count") == (100.0, 5)


@pytest.mark.requirement("R23")
def test_fewer_than_three_like_days_are_no_baseline(models: Models):
    load_history(models, days_before(YESTERDAY, [50] * 20))
    models.rebuild()
    assert judged(models, YESTERDAY, "like_day_median, like_day_count") == (None, 2)


@pytest.mark.requirement("R23")
def test_after_ninety_silent_days_the_old_traffic_is_no_history(models: Models):
    old = date(2026, 5, 1)
    load_history(models, {old + timedelta(days=n): 40 for n in range(10)} | {YESTERDAY: 40})
    models.rebuild()
    columns = "median_7d, evaluation_status"
    assert judged(models, YESTERDAY, columns) == (None, "insufficient_history")


@pytest.mark.requirement("R23")
def test_the_columns_come_in_the_ledgers_order(models: Models):
    models.rebuild()
    expected = """
        date capability interaction_count median_7d median_14d mean_7d stddev_7d z_score like_day_median
        like_day_count deviation_percent deviation_state evaluation_status severity reason
    """
    assert [row[0] for row in models.query("describe ai_audit_capability_anomalies")] == expected.split()
