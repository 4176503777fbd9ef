"""Incremental builds: for any order of rows and days, the tables equal those of one full build."""

import json
import random
from datetime import date, timedelta

import pytest

from audit_assets_tests.models.conftest import BuildFailedError, Models, Row, rows_of_day

PARTITIONED = (
    "ai_audit_daily",
    "ai_audit_capability_stats",
    "ai_audit_capability_anomalies",
    "ai_audit_capability_grid",
    "ai_audit_total_grid",
    "ai_audit_capability_outcomes",
    "ai_audit_total_outcomes",
    "ai_audit_workspace_counts",
    "ai_audit_workspace_stats",
    "ai_audit_latency_histogram",
    "ai_audit_error_funnel",
    "ai_audit_data_quality",
    "ai_audit_status_words",
)


def tables(models: Models) -> dict[str, list[tuple[object, ...]]]:
    return {name: models.table(name) for name in PARTITIONED}


def assert_as_after_a_rebuild(models: Models, now: str) -> None:
    found = tables(models)
    models.rebuild(now=now)
    expected = tables(models)
    for name in PARTITIONED:
        assert found[name] == expected[name], name


@pytest.mark.requirement("R28")
def test_days_built_one_by_one_in_any_order_make_the_tables_of_one_build(models: Models):
    generator = random.Random(28)
    days = [str(date(2026, 10, 25) + timedelta(days=n)) for n in range(8)]
    models.rebuild(now="2026-10-25T00:10:00Z")
    for minute, day in enumerate(generator.sample(days, len(days))):
        # Capabilities start on different days and are silent on some.
        models.load(
            [
                Row(
                    id=f"{day}-{n}",
                    created_at=f"{day} {generator.randrange(24):02}:{generator.randrange(60):02}:00+00",
                    workflow_id=generator.choice([None, "w1", "w2", "w3"]),
                    capability=generator.choice(["a", "b", "c", None]),
                    provider=generator.choice(["openai", "anthropic", "stub", None]),
                    status=generator.choice(["success", "failed", "pending", "banana", None]),
                    completion_id=generator.choice(["c1", "c2", "c3", None]),
                    error_flag=generator.choice([None, False, True]),
                    duration_ms=generator.choice(["120", "1500.5", "junk", None]),
                )
                for n in range(generator.choice([0, 1, 6]))
            ]
        )
        models.build(days=day, now=f"2026-11-05T12:{minute:02}:00Z", tests=day == days[0])
    assert_as_after_a_rebuild(models, now="2026-11-05T12:07:00Z")


@pytest.mark.requirement("R28")
def test_building_a_day_again_changes_nothing(models: Models):
    models.load([row for n in range(1, 6) for row in rows_of_day(f"2026-11-0{n}", n)])
    models.rebuild()
    before = tables(models)
    models.build(days="2026-11-03")
    models.build(days="2026-11-05,2026-11-01")
    assert tables(models) == before


@pytest.mark.requirement("R28", "R26")
def test_late_rows_reach_the_days_and_windows_after_them(models: Models):
    models.load([row for n in range(1, 6) for row in rows_of_day(f"2026-11-0{n}", 3)])
    models.rebuild()
    late = [Row("late", "2026-10-20 23:59:59+00"), Row("late-other", "2026-11-02 08:00:00+00", capability="other")]
    models.load(late)
    models.build(days="2026-10-20,2026-11-02", tests=True, now="2026-11-05T12:08:00Z")
    first_days = "select capability, min(date) from ai_audit_capability_stats group by 1 order by 1"
    assert models.query(first_days) == [("other", date(2026, 11, 2)), ("summarise", date(2026, 10, 20))]
    registry = "select capability, first_seen_date, registered_silently from ai_audit_capabilities order by 1"
    assert models.query(registry) == [
        ("other", date(2026, 11, 2), False),  # late rows count as new too
        ("summarise", date(2026, 10, 20), True),
    ]
    assert_as_after_a_rebuild(models, now="2026-11-05T12:07:00Z")


@pytest.mark.requirement("R28")
def test_a_day_that_lost_its_rows_is_empty(models: Models):
    models.load([*rows_of_day("2026-11-01", 3), *rows_of_day("2026-11-03", 3)])
    models.rebuild()
    models.execute("delete from ai_audit_logs where created_at < timestamptz '2026-11-02 00:00:00+00'")
    models.build(days="2026-11-01", tests=True)
    for name in PARTITIONED:
        assert models.query(f"select min(date) from {name}") == [(date(2026, 11, 3),)], name
    assert_as_after_a_rebuild(models, now="2026-11-05T12:07:00Z")
    models.execute("delete from ai_audit_logs")
    models.build(days="2026-11-03", tests=True)
    assert tables(models) == {name: [] for name in PARTITIONED}


@pytest.mark.requirement("R21", "R28")
def test_days_on_which_nothing_was_synced_become_rows_of_zero(models: Models):
    models.load(rows_of_day("2026-10-30", 3))
    models.rebuild(now="2026-10-30T12:00:00Z")
    # Nothing arrived over the weekend, and no build covered those days.
    models.load(rows_of_day("2026-11-02", 3))
    models.build(days="2026-11-02", now="2026-11-02T12:00:00Z")
    counts = "select date, interaction_count from ai_audit_capability_stats order by date"
    assert [count for _, count in models.query(counts)] == [3, 0, 0, 3]
    assert_as_after_a_rebuild(models, now="2026-11-02T12:00:00Z")


@pytest.mark.requirement("R28")
def test_a_build_without_days_names_the_variable_to_set(models: Models):
    with pytest.raises(BuildFailedError, match="AI_AUDIT_BUILD_DAYS is not set: name the UTC days"):
        models.run("run", "--select", "ai_audit_daily")
    with pytest.raises(BuildFailedError, match="'tomorrow' is not a day"):
        models.run("run", "--select", "ai_audit_daily", days="tomorrow")
    with pytest.raises(BuildFailedError, match="'2026-11-01T12:00:00' is not an instant in UTC"):
        models.build(days="2026-11-01", now="2026-11-01T12:00:00")


@pytest.mark.requirement("R28")
def test_another_window_does_not_parse_the_project_again(models: Models):
    models.rebuild()
    models.run("parse", days="2026-11-01", now="2026-11-01T12:00:00Z")
    (models.folder / "target" / "perf_info.json").unlink()
    models.run("parse", days="2026-11-02", now="2026-11-02T12:00:00Z")
    performance = json.loads((models.folder / "target" / "perf_info.json").read_text())
    assert sum(project["parsed_path_count"] for project in performance["projects"]) == 0


@pytest.mark.requirement("R27")
def test_a_raw_row_the_models_miss_fails_the_build(models: Models):
    models.load(rows_of_day("2026-11-04", 3))
    models.rebuild()
    models.load(rows_of_day("2026-11-04", 4))
    with pytest.raises(BuildFailedError, match="every_raw_row_is_in_ai_audit_daily"):
        models.run("test", "--select", "every_raw_row_is_in_ai_audit_daily", days="2026-11-04")


@pytest.mark.requirement("R28")
def test_a_table_of_an_earlier_version_is_made_anew_from_the_whole_history(models: Models):
    models.load(
        [
            *rows_of_day("2026-11-01", 2, workflow_id=None),
            *rows_of_day("2026-11-01", 1, workflow_id="unassigned", capability="chat"),
            *rows_of_day("2026-11-05", 1),
        ]
    )
    models.rebuild()
    expected = tables(models)
    for table in ("ai_audit_workspace_counts", "ai_audit_workspace_stats"):
        models.execute(f"alter table {table} drop column is_unassigned")
        models.execute(f"update {table} set workspace_id = 'unassigned' where date = '2026-11-01'")
    models.build(days="2026-11-05", tests=True)
    assert tables(models) == expected
