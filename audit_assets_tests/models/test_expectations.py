"""The expected values of a step, compared with a recount in Python; time zones, gaps, and external counts."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from audit_assets_tests.models.conftest import Models, Row

MARTS = ("ai_audit_capability_grid", "ai_audit_total_grid")

# The plain SQL with which the detector's features were developed; the model is faster and reads fewer rows.
FEATURES = Path(__file__).with_name("features.sql")
ZONE = ZoneInfo("America/Los_Angeles")
STEP = timedelta(minutes=15)
COLUMNS = (
    "local_date, step_of_day, day_is_over, interaction_count, day_count, day_median_14d, comparable_days, "
    "last_interaction_at, expected_count"
)


def counted_again(
    counts: dict[datetime, int], last: datetime, zone: ZoneInfo = ZONE
) -> dict[datetime, tuple[Any, ...]]:
    """The columns of one series by step, from its counts (calls by UTC step), computed directly from the definition."""
    steps = [min(counts) + STEP * n for n in range(int((last - min(counts)) / STEP) + 1)]
    clocks = {step: step.astimezone(zone) for step in steps}
    totals: dict[date, int] = {}
    same_step: dict[int, list[tuple[date, int]]] = {}
    expected: dict[datetime, tuple[Any, ...]] = {}
    seen: set[tuple[date, int]] = set()
    newest = None
    for step in steps:
        clock, count = clocks[step], counts.get(step, 0)
        day, of_day = clock.date(), (60 * clock.hour + clock.minute) // 15
        totals[day] = totals.get(day, 0) + count
        newest = step if count else newest
        fortnight = [totals[day - timedelta(n)] for n in range(1, 15) if day - timedelta(n) in totals]
        before = same_step.setdefault(of_day, [])
        usual = [value for _, value in before[-14:]]
        repeated = bool(before) and before[-1][0] == day
        expected[step] = (
            day,
            of_day,
            (step + STEP).astimezone(zone).date() > day,
            count,
            totals[day],
            median(fortnight) if len(fortnight) >= 7 else None,
            0 if repeated else sum((day - timedelta(n), of_day) in seen for n in range(1, 15)),
            newest,
            median(usual) if usual and not repeated else None,
        )
        before.append((day, count))
        seen.add((day, of_day))
    return expected


def found(
    models: Models, table: str, environment: str, capability: str | None = None
) -> dict[datetime, tuple[Any, ...]]:
    chosen = f" and capability = '{capability}'" if capability else ""
    rows = models.query(f"select step_start, {COLUMNS} from {table} where environment = '{environment}'{chosen}")
    return {row[0].astimezone(UTC): (*row[1:8], row[8].astimezone(UTC), row[9]) for row in rows}


def assert_same(got: dict[datetime, tuple[Any, ...]], expected: dict[datetime, tuple[Any, ...]]) -> None:
    assert sorted(got) == sorted(expected)
    for step, figures in expected.items():
        assert got[step] == figures, step


def calls(first: datetime, days: int, seed: int, of: str, **fields: Any) -> tuple[list[Row], dict[datetime, int]]:
    """Random calls over `days` days from `first`, more by day than by night, as rows and as counts per step."""
    generator = random.Random(seed)
    rows: list[Row] = []
    counts: dict[datetime, int] = {}
    for n in range(days * 96):
        step = first + n * STEP
        count = generator.choice((0, 0, 0, 1, 2) if 4 < step.hour < 14 else (0, 1, 3, 4, 9))
        if count:
            counts[step] = count
        rows += [
            Row(f"{of}-{n}-{k}", f"{step + timedelta(seconds=k):%Y-%m-%d %H:%M:%S}+00", capability=of, **fields)
            for k in range(count)
        ]
    return rows, counts


def added(*series: dict[datetime, int]) -> dict[datetime, int]:
    return {step: sum(counts.get(step, 0) for counts in series) for step in set[datetime]().union(*series)}


@pytest.mark.requirement("R23b")
def test_expectations_are_those_counted_again_in_python(models: Models):
    # Across the clock change of 2026-11-01. `chat` starts later, and is silent for two days at the end.
    first = datetime(2026, 10, 1, 9, 15, tzinfo=UTC)
    whole, counts = calls(first, 36, 1, "summarise")
    later, counts_later = calls(first + timedelta(days=20), 14, 2, "chat")
    drill, counts_drill = calls(first + timedelta(days=30), 3, 3, "summarise", drill_id="d", workflow_id=None)
    drill = [replace(row, id=f"drill-{row.id}") for row in drill]
    models.load([*whole, *later, *drill])
    models.rebuild(now="2026-11-06T12:07:00Z", tests=True)
    last = datetime(2026, 11, 6, 12, 0, tzinfo=UTC)
    grid, total = "ai_audit_capability_grid", "ai_audit_total_grid"
    assert_same(found(models, grid, "live", "summarise"), counted_again(counts, last))
    assert_same(found(models, grid, "live", "chat"), counted_again(counts_later, last))
    assert_same(found(models, grid, "sim", "summarise"), counted_again(counts_drill, last))
    assert_same(found(models, total, "live"), counted_again(added(counts, counts_later), last))
    assert_same(found(models, total, "sim"), counted_again(counts_drill, last))
    silences = models.query(
        """select capability, step_start, interaction_count, expected_count, expected_since_last
        from ai_audit_capability_grid where environment = 'live' order by capability, step_start"""
    )
    summed, series = 0.0, None
    for capability, _, count, expected, since_last in silences:
        summed = 0.0 if count or capability != series else summed + (expected or 0)
        series = capability
        assert since_last == summed
    assert summed > 0


@pytest.mark.requirement("R23b", "R28")
def test_a_silence_is_measured_from_its_beginning_also_where_that_is_not_read_again(models: Models):
    rows, counts = calls(datetime(2026, 7, 1, 8, 0, tzinfo=UTC), 20, 4, "summarise")
    models.load(rows)
    models.rebuild(now="2026-09-10T06:00:00Z")
    for day in ("2026-09-10", "2026-09-11"):  # 51 days of silence, of which a build reads 31
        models.build(days=day, now=f"{day}T12:07:00Z")
    figures = {table: models.table(table) for table in ("ai_audit_capability_grid", "ai_audit_total_grid")}
    assert models.query("select max(last_interaction_at) from ai_audit_total_grid where date = '2026-09-11'") == [
        (max(counts),)
    ]
    models.rebuild(now="2026-09-11T12:07:00Z")
    assert {table: models.table(table) for table in figures} == figures


@pytest.mark.requirement("R23b")
@pytest.mark.parametrize(
    ("day", "hours", "steps_at_two"),
    [
        pytest.param("2026-03-08", 23, 0, id="the hour from two is skipped"),
        pytest.param("2026-11-01", 25, 1, id="the hour from one occurs twice"),
    ],
)
def test_a_day_of_23_or_25_hours_is_compared_by_its_clocks(models: Models, day: str, hours: int, steps_at_two: int):
    # One call at 09:00 of every local day, and on the day itself one at 01:30 before and after the change.
    first = date.fromisoformat(day) - timedelta(days=10)
    nines = [datetime.combine(first + timedelta(n), datetime.min.time(), ZONE).replace(hour=9) for n in range(13)]
    models.load([Row(f"nine-{n}", f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00") for n, at in enumerate(nines)])
    models.rebuild(now=f"{nines[-1].astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z", tests=True)
    grid = "from ai_audit_capability_grid where"
    assert models.query(f"select count(*) {grid} local_date = '{day}'") == [(hours * 4,)]
    assert models.query(f"select count(*) {grid} local_date = '{day}' and step_of_day = 8") == [(steps_at_two,)]
    nine = f"{grid} step_of_day = 36 and local_date > '{first}'"
    assert models.query(f"select distinct interaction_count, expected_count {nine}") == [(1, 1)]
    assert models.query(f"select count(*), max(day_count) {grid} local_date = '{day}' and day_is_over") == [(1, 1)]
    twice = models.query(
        f"select count(*), count(expected_count) {grid} local_date = '{day}' and step_of_day between 4 and 7"
    )
    assert twice == [(8, 4) if hours == 25 else (4, 4)]


@pytest.mark.requirement("R23b")
def test_a_capability_that_returns_after_ninety_days_begins_anew(models: Models):
    models.load([Row("a", "2026-07-01 09:00:00+00"), Row("b", "2026-11-05 09:20:00+00")])
    models.rebuild(tests=True)
    spans = "select min(step_start), max(date), count(*) from ai_audit_capability_grid where date {} '2026-10-31'"
    assert models.query(spans.format("<")) == [(datetime(2026, 7, 1, 9, tzinfo=UTC), date(2026, 9, 29), 90 * 96 + 60)]
    assert models.query(spans.format(">")) == [(datetime(2026, 11, 5, 9, 15, tzinfo=UTC), date(2026, 11, 5), 12)]
    assert models.query("select distinct comparable_days from ai_audit_capability_grid where date > '2026-11-01'") == [
        (0,)
    ]


def build_from_counts(models: Models, rows: list[tuple[str, datetime, int]]) -> None:
    """Builds the grids of (capability, step_start, interaction_count), with steps of 10 minutes and days of UTC."""
    models.execute("drop table ai_audit_logs")
    models.execute(
        """create table int_ai_audit_step_counts (
            date date, environment varchar, capability varchar, step_start timestamptz, interaction_count bigint,
            success_count bigint, error_count bigint, unknown_count bigint, workspace_count bigint
        )"""
    )
    columns = ["date", "environment", "capability", "step_start", "interaction_count", "success_count", "error_count"]
    models.append(
        "int_ai_audit_step_counts",
        [*columns, "unknown_count", "workspace_count"],
        [(step.date(), "live", capability, step, count, 0, 0, 0, 0) for capability, step, count in rows],
    )
    last = max(step for _, step, _ in rows)
    models.run(
        *("run", "--full-refresh", "--select", "int_ai_audit_calendar_steps", "int_ai_audit_expected_counts"),
        *("ai_audit_capability_grid", "ai_audit_total_grid", "--vars", "{step_minutes: 10, rules_timezone: UTC}"),
        now=f"{last:%Y-%m-%dT%H:%M:%SZ}",
    )


@pytest.mark.requirement("R23b")
def test_counts_from_outside_run_through_the_same_models(models: Models):
    first = datetime(2026, 10, 1, tzinfo=UTC)
    steps_of_series = [first + n * timedelta(minutes=10) for n in range(20 * 144)]
    build_from_counts(models, [("series", step, (step.hour * 7 + step.day * 3) % 11) for step in steps_of_series])
    counts = "select step_start, interaction_count, day_count, expected_count from {} order by 1"
    rows = models.query(counts.format("ai_audit_capability_grid"))
    assert rows == models.query(counts.format("ai_audit_total_grid"))
    given = models.query("select step_start, interaction_count from int_ai_audit_step_counts order by 1")
    assert [row[:2] for row in rows] == given
    assert rows[-1][2] == sum(count for _, count in given[-144:])
    assert rows[-1][3] == median(given[-1 - 144 * day][1] for day in range(1, 15))
    steps = "select max(step_of_day), max(comparable_days) from ai_audit_capability_grid"
    assert models.query(steps) == [(143, 14)]


@pytest.mark.requirement("R23b")
def test_the_detectors_figures_are_those_of_the_sql_they_were_found_with(models: Models):
    # 33 days of bursts, quiet nights, a day of silence and a spike; steps of 10 minutes, days of UTC.
    generator = random.Random(7)
    first = datetime(2026, 9, 1, tzinfo=UTC)
    rows: list[tuple[str, datetime, int]] = []
    for name, level in (("busy", 30), ("quiet", 1)):
        for n in range(33 * 144):
            day, hour = n // 144, n // 6 % 24
            usual = level * (3 if 8 <= hour < 18 else 0.3) * (0 if day == 25 else 4 if day == 29 and hour < 12 else 1)
            count = int(usual * generator.gammavariate(1, 1))
            rows.append((name, first + n * timedelta(minutes=10), count))
    build_from_counts(models, rows)
    models.execute(
        """create table steps as select capability, (epoch(step_start)::bigint // 86400)::int as day_number,
        ((epoch(step_start)::bigint % 86400) // 600)::int as step_of_day, epoch(step_start)::bigint as epoch,
        interaction_count from int_ai_audit_step_counts"""
    )
    models.execute(f"create table features as {FEATURES.read_text()}")
    names = [
        name for name, *_ in models.query("describe features") if name not in ("day_number", "epoch", "step_of_day")
    ]
    ours = ", ".join("day_count" if name == "count_day" else name for name in names)
    got = models.query(f"select step_start, {ours} from ai_audit_capability_grid order by capability, step_start")
    expected = models.query(
        f"select to_timestamp(epoch) as step_start, {', '.join(names)} from features order by capability, epoch"
    )
    assert len(got) == len(expected) == 2 * 33 * 144
    assert sum(value is not None for row in expected for value in row) > 0.9 * len(expected) * len(names)
    columns = ["step_start", *names]
    wrong = [
        (columns[n], ours_row[0], mine, theirs)
        for ours_row, row in zip(got, expected, strict=True)
        for n, (mine, theirs) in enumerate(zip(ours_row, row, strict=True))
        if mine != theirs and not (mine is not None and theirs is not None and mine == pytest.approx(theirs, rel=1e-12))
    ]
    assert wrong == []
