"""Runs killed with -9 while models are built or the snapshot is published: the next run leaves all as it should be."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from audit_assets.warehouse.duckdb import DuckDBWarehouse
from audit_assets.warehouse.snapshot import read_manifest
from audit_assets_tests.homes import Home
from audit_assets_tests.nursery import Nursery, nursery

pytestmark = pytest.mark.requirement("R10", "R28")

# How long after its beginning a phase is killed at most; it lasts about as long.
PHASES = {"models": 2.0, "publish": 0.25}


@pytest.fixture
def runs(home: Home) -> Iterator[Nursery]:
    with nursery("audit_assets_tests.scenarios.building:run_once", home.whole_environment()) as runs:
        yield runs


def killed_in(runs: Nursery, phase: str, after: float) -> bool:
    """Whether a run was killed `after` seconds into the phase, rather than ended before."""
    child = runs.child()
    assert child.line(lambda line: line == f"phase {phase}", within=60) is not None
    time.sleep(after)
    child.kill()
    return child.ended() < 0


def whole(home: Home) -> bool:
    """Whether the published snapshot is one moment: its files are there, its tables agree."""
    manifest = read_manifest(home.folder / "published")
    assert manifest is not None
    missing = [path for path in manifest.paths() if not (home.folder / "published" / path).exists()]
    ((raw, daily),) = home.published(
        """select (select count(*) from analytics.ai_audit_logs),
            (select sum(interaction_count)::bigint from analytics.ai_audit_daily)"""
    )
    return missing == [] and raw == daily == manifest.rows("ai_audit_logs")


def mended(home: Home, runs: Nursery) -> None:
    """One more run, after which raw, daily mart and snapshot hold exactly the source's rows."""
    child = runs.child()
    assert child.line(lambda line: line.startswith(("succeeded", "failed"))) == "succeeded"
    assert child.ended() == 0
    by_source = {str(day): count for day, count in home.ask(_BY_DAY_AT_SOURCE)}
    published = "select date::varchar, sum({})::bigint from analytics.{} group by 1"
    assert dict(home.published(published.format("1", "ai_audit_logs"))) == by_source
    assert dict(home.published(published.format("interaction_count", "ai_audit_daily"))) == by_source
    settings = home.settings()
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        held = connection.execute(
            "select count(*), count(distinct id), min(created_at)::date::varchar from analytics.ai_audit_logs"
        ).fetchall()
    assert held == [(sum(by_source.values()), sum(by_source.values()), min(by_source))]
    assert whole(home)


_BY_DAY_AT_SOURCE = "select (created_at at time zone 'UTC')::date, count(*) from ai_audit_logs group by 1"


def kill_and_mend(home: Home, runs: Nursery, kills: int) -> Counter[tuple[str, str]]:
    """How often a run was killed, by phase and by how far into it."""
    chance = random.Random(11)
    histogram: Counter[tuple[str, str]] = Counter()
    number = 0
    for phase, longest in PHASES.items():
        while sum(count for (name, _), count in histogram.items() if name == phase) < kills:
            number += 1
            home.insert(20, prefix=f"kill{number}-")
            home.insert(5, at=datetime.now(UTC) - timedelta(minutes=5), prefix=f"late{number}-")
            part = chance.random()
            if killed_in(runs, phase, part * longest):
                histogram[phase, f"{int(part * 4)}/4"] += 1
            assert whole(home)
            mended(home, runs)
    return histogram


def test_a_run_killed_in_models_or_publishing_is_made_good_by_the_next(home: Home, runs: Nursery):
    kill_and_mend(home, runs, kills=2)


@pytest.mark.slow
def test_many_runs_killed_in_models_or_publishing_are_made_good_by_the_next(home: Home, runs: Nursery):
    histogram = kill_and_mend(home, runs, kills=6)
    print("\nkilled in phase, how far into it: times")
    for (phase, part), count in sorted(histogram.items()):
        print(f"  {phase:8} {part}  {'#' * count}")
