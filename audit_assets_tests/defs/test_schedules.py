"""Schedules: cron ticks across changes of summer time, and what each tick requests."""

from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dagster import ScheduleDefinition, build_schedule_context
from dagster._utils.schedules import schedule_execution_time_iterator

from audit_assets_tests.environments import Home, definitions

PACIFIC = ZoneInfo("America/Los_Angeles")


@pytest.fixture
def schedules(built_home: Home) -> Any:
    return SimpleNamespace(**{definition.name: definition for definition in definitions().schedules or ()})


def ticks(schedule: ScheduleDefinition, start: datetime, end: datetime) -> list[datetime]:
    """The moments (UTC) at which Dagster would run `schedule`."""
    cron, zone = str(schedule.cron_schedule), schedule.execution_timezone
    found = (moment.astimezone(UTC) for moment in schedule_execution_time_iterator(start.timestamp(), cron, zone))
    return list(takewhile(lambda moment: moment < end, found))


def requested(schedule: ScheduleDefinition, moment: datetime) -> Any:
    return schedule(build_schedule_context(scheduled_execution_time=moment))


def mode(request: Any) -> str:
    return request.run_config["ops"]["sync_ai_audit_logs"]["config"]["mode"]


@pytest.mark.requirement("R15")
@pytest.mark.parametrize(
    ("around", "hours_utc"),
    [
        # Sunday 2026-03-08 has no 02:00 in California: the repair runs when the clock first reads later.
        (datetime(2026, 3, 8, tzinfo=UTC), [10, 10, 9, 9]),
        # Sunday 2026-11-01 has 01:00 to 02:00 twice, and 02:00 once.
        (datetime(2026, 11, 1, tzinfo=UTC), [9, 10, 10, 10]),
    ],
    ids=["into summer time", "out of summer time"],
)
def test_the_nightly_repair_runs_once_a_night_at_two_pacific(schedules: Any, around: datetime, hours_utc: list[int]):
    found = ticks(schedules.nightly_repair, around - timedelta(days=1), around + timedelta(days=3))
    assert [moment.hour for moment in found] == hours_utc
    assert len({moment.astimezone(PACIFIC).date() for moment in found}) == 4
    ordinary = [moment for moment in found if moment.date() != date(2026, 3, 8)]
    assert {moment.astimezone(PACIFIC).hour for moment in ordinary} == {2}


@pytest.mark.requirement("R15")
def test_runs_that_come_once_an_hour_or_less_are_retried_twice_and_batches_are_not(schedules: Any):
    moment = datetime(2026, 2, 18, 10, tzinfo=UTC)
    retries = {"dagster/max_retries": "2", "dagster/retry_strategy": "FROM_FAILURE"}
    for schedule in (schedules.nightly_repair, schedules.closed_day):
        assert retries.items() <= requested(schedule, moment).tags.items()
    jobs = {name: definitions().resolve_job_def(name) for name in ("upkeep", "audit_sync", "audit_judge")}
    assert retries.items() <= jobs["upkeep"].tags.items()
    assert "dagster/max_retries" not in requested(schedules.hourly_delta, moment).tags
    assert "dagster/max_retries" not in {**jobs["audit_sync"].tags, **jobs["audit_judge"].tags}


@pytest.mark.requirement("R15")
def test_the_hourly_delta_runs_every_hour_also_where_the_clock_jumps(schedules: Any):
    for day in (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)):
        assert len(ticks(schedules.hourly_delta, day, day + timedelta(days=1))) == 24


@pytest.mark.requirement("R15")
def test_each_tick_requests_the_sync_job_in_its_mode_for_its_day(schedules: Any):
    moment = datetime(2026, 11, 2, 10, tzinfo=UTC)
    for schedule, expected, day in (
        (schedules.hourly_delta, "delta", "2026-11-02"),
        (schedules.nightly_repair, "full", "2026-11-02"),
        (schedules.closed_day, "days", "2026-11-01"),
    ):
        request = requested(schedule, moment)
        assert (mode(request), request.partition_key, request.tags["audit/mode"]) == (expected, day, expected)
        assert schedule.job_name == "audit_sync"


@pytest.mark.requirement("R15")
def test_the_closed_day_is_materialized_after_midnight_utc(schedules: Any):
    (tick,) = ticks(schedules.closed_day, datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 2, 23, tzinfo=UTC))
    assert tick == datetime(2026, 11, 2, 0, 20, tzinfo=UTC)
    assert requested(schedules.closed_day, tick).partition_key == "2026-11-01"


def test_a_tick_seen_twice_requests_one_run(schedules: Any):
    moment = datetime(2026, 11, 2, 10, tzinfo=UTC)
    keys = {requested(schedules.nightly_repair, moment).run_key for _ in range(2)}
    assert len(keys) == 1
    assert keys != {requested(schedules.nightly_repair, moment + timedelta(days=1)).run_key}


def test_all_schedules_and_sensors_run_from_the_start(built_home: Home):
    repository = definitions().get_repository_def()
    running = {
        definition.name for definition in repository.schedule_defs if definition.default_status.value == "RUNNING"
    }
    assert running == {"hourly_delta", "nightly_repair", "closed_day", "hourly_upkeep"}
    sensors = {sensor.name: sensor.default_status.value for sensor in repository.sensor_defs}
    assert sensors == dict.fromkeys(("audit_sync_sensor", "audit_judge_sensor", "alert_deliveries"), "RUNNING")
