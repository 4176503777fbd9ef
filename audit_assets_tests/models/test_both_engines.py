"""Both engines build the same tables from the same rows: fully, and after late, repaired and emptied days."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from audit_assets_tests.models.bigquery import BigQueryModels
from audit_assets_tests.models.conftest import Models, Row
from tools.emulator.running import Emulator

FIRST_DAY = date(2026, 9, 7)
DAYS = [str(FIRST_DAY + timedelta(days=n)) for n in range(60)]
NOW = "2026-11-05T12:07:00Z"
LATER = "2026-11-05T12:12:00Z"
MARTS = (
    "ai_audit_capabilities",
    "ai_audit_capability_anomalies",
    "ai_audit_capability_grid",
    "ai_audit_capability_outcomes",
    "ai_audit_capability_stats",
    "ai_audit_daily",
    "ai_audit_data_quality",
    "ai_audit_status_words",
    "ai_audit_error_funnel",
    "ai_audit_latency_histogram",
    "ai_audit_total_grid",
    "ai_audit_total_outcomes",
    "ai_audit_workspace_counts",
    "ai_audit_workspace_coverage",
    "ai_audit_workspace_stats",
)
GRAIN = ("date", "status", "environment", "capability", "provider", "workspace_id", "bucket", "step_start")


def made_rows() -> Iterator[Row]:
    """Sixty days with few calls: nulls, ties, unknown statuses, text instead of numbers, drills, an empty day."""
    generator = random.Random(60)
    for day in DAYS:
        for n in range(0 if day == DAYS[30] else generator.choice([2, 4, 9])):
            yield Row(
                id=f"{day}-{n}",
                created_at=f"{day} {generator.choice([0, 9, 10, 10, 23]):02}:{generator.randrange(60):02}:00+00",
                workflow_id=generator.choice(["w1", "w2", " w3 ", "", None]),
                # One capability starts late, one falls silent.
                capability=generator.choice(["chat", "new" if day > DAYS[40] else "old", None]),
                provider=generator.choice(["openai", "openai", "anthropic", "Stub", None]),
                status=generator.choice(["success", "Success ", "failed", "pending", "200 OK", "banana", "", None]),
                error_flag=generator.choice([None, None, False, True]),
                duration_ms=generator.choice(["100", "100", "250.5", "1e3", "junk", "-4", "NaN", "1_000", "", None]),
                completion_id=generator.choice(["c1", "c2", None]),
                prompt_tokens=generator.choice(["12", "7.5", "9007199254740993", "many", None]),
                source_documents=generator.choice(['["a"]', '{"a": 1}', "[", None]),
                drill_id="drill" if day == DAYS[20] else None,
            )


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, emulator: Emulator) -> tuple[Models, BigQueryModels]:
    """Both engines with the same sixty days, fully built and tested."""
    found = (
        Models(tmp_path_factory.mktemp("duckdb")),
        BigQueryModels(tmp_path_factory.mktemp("bigquery"), emulator, "both_engines"),
    )
    rows = list(made_rows())
    accessed = [datetime(2026, 10, 1 + 9 * n, 8, tzinfo=UTC) for n in range(3)]
    workspaces = [(f"w{n + 1}", at) for n, at in enumerate(accessed)]
    for models in found:
        models.clear()
        models.load(rows)
        models.append("ai_audit_workspaces", ["workspace_id", "last_accessed_at"], workspaces)
        models.rebuild(now=NOW, tests=True)
    return found


@pytest.mark.requirement("R27", "R28")
def test_a_whole_build_of_sixty_days_is_the_same_in_both_engines(engines: tuple[Models, BigQueryModels]):
    assert_same_marts(*engines)


@pytest.mark.requirement("R27", "R28")
def test_late_and_repaired_and_emptied_days_are_the_same_in_both_engines(engines: tuple[Models, BigQueryModels]):
    """The last emptied days had all rows of a capability, so its rows in the dense tables must disappear."""
    late, first, repaired = DAYS[12], DAYS[30], DAYS[35]
    emptied = [DAYS[38], *DAYS[41:]]
    of_emptied = "in (" + ", ".join(f"date '{day}'" for day in emptied) + ")"
    arrived = [
        Row("late", f"{late} 23:59:59.999999+00", capability="chat", duration_ms="99"),
        Row("first", f"{first} 12:00:00+00", capability="later", status="rate_limited"),
        *(
            replace(row, status="failed", duration_ms="7", row_hash="repaired")
            for row in made_rows()
            if row.id.startswith(repaired)
        ),
    ]
    for models in engines:
        models.load(arrived)
        models.query(
            f"delete from ai_audit_logs where created_at >= timestamp '{DAYS[38]} 00:00:00+00' "
            f"and cast(created_at as date) {of_emptied}"
        )
        models.build(days=",".join([late, first, repaired, *emptied]), now=LATER, tests=True)
        for mart in ("ai_audit_daily", "ai_audit_workspace_counts", "ai_audit_latency_histogram"):
            assert models.query(f"select count(*) from {mart} where date {of_emptied}") == [(0,)]
        for mart in ("ai_audit_capability_stats", "ai_audit_capability_grid"):
            assert models.query(f"select count(*) from {mart} where capability = 'new'") == [(0,)]
            assert models.query(f"select sum(interaction_count) from {mart} where date {of_emptied}") == [(0,)]
    assert_same_marts(*engines)


@pytest.mark.requirement("R27")
def test_the_unit_tests_of_the_models_pass_on_bigquery(engines: tuple[Models, BigQueryModels]):
    _, emulated = engines
    assert len(emulated.run("test", "--resource-type", "unit_test", days=DAYS[-1])) >= 13


def assert_same_marts(duckdb: Models, emulated: BigQueryModels) -> None:
    """Asserts that every mart has the same rows in both engines. Numbers may differ by a relative 1e-9."""
    for mart in MARTS:
        names = [name for (name,) in duckdb.query(f"select column_name from (describe {mart})")]
        grain = [name for name in GRAIN if name in names]
        columns = ", ".join([*grain, *(name for name in names if name not in grain)])
        sql = f"select {columns} from {mart} order by {', '.join(grain)}"
        expected, found = duckdb.query(sql), emulated.query(sql)
        assert expected, f"{mart} is empty"
        keys = [row[: len(grain)] for row in expected]
        assert len(set(keys)) == len(keys), mart
        assert [row[: len(grain)] for row in found] == keys, mart
        differing = [
            f"{mart} {key}: {name} is {one!r} and {other!r}"
            for key, left, right in zip(keys, expected, found, strict=True)
            for name, one, other in zip(columns.split(", "), left, right, strict=True)
            if not is_same(one, other)
        ]
        assert differing == []


def is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return type(one) is type(other) and one == other
