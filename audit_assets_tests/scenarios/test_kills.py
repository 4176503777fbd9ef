"""Runs killed by SIGKILL while they build models or publish the snapshot: the next run repairs everything."""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from audit_assets.warehouse.duckdb.warehouse import DuckDBWarehouse
from audit_assets.warehouse.snapshot import read_manifest
from audit_assets_tests.environments import NOW, Home

pytestmark = pytest.mark.requirement("R10", "R28")

# The maximum seconds after the start of a phase until the kill; about the duration of the phase.
PHASES = {"models": 2.0, "publish": 0.25}


class Runs:
    """Processes that run the sync job once each. The next one imports its modules while the previous one runs."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._spare = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "audit_assets_tests.scenarios.building", NOW.isoformat()],
            env=self._home.process_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill_in(self, phase: str, after: float) -> bool:
        """Kills a run `after` seconds into the phase. Returns False if it ended before."""
        child, self._spare = self._spare, self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("go\n")
        child.stdin.flush()
        for line in child.stdout:
            assert not line.startswith(("succeeded", "failed")), line
            if line == f"phase {phase}\n":
                break
        time.sleep(after)
        child.kill()
        child.communicate()
        return child.returncode < 0

    def end(self) -> None:
        self._spare.kill()
        self._spare.communicate()


@pytest.fixture
def runs(home: Home) -> Iterator[Runs]:
    runs = Runs(home)
    try:
        yield runs
    finally:
        runs.end()


def whole(home: Home) -> bool:
    """Whether the published snapshot is consistent: its files exist and its tables agree."""
    manifest = read_manifest(home.folder / "published")
    assert manifest is not None
    missing = [path for path in manifest.paths() if not (home.folder / "published" / path).exists()]
    ((raw, daily),) = home.query_snapshot(
        """select (select count(*) from analytics.ai_audit_logs),
            (select sum(interaction_count)::bigint from analytics.ai_audit_daily)"""
    )
    return missing == [] and raw == daily == manifest.rows("ai_audit_logs")


def assert_repaired(home: Home) -> None:
    """Runs the job once more. Then raw rows, daily mart and snapshot must match the source's rows exactly."""
    outcome = home.build()
    assert outcome.succeeded, outcome.failure
    by_source = {str(day): count for day, count in home.query(_BY_DAY_AT_SOURCE)}
    by_day = "select date::varchar, sum({})::bigint from analytics.{} group by 1"
    assert dict(home.query_snapshot(by_day.format("1", "ai_audit_logs"))) == by_source
    assert dict(home.query_snapshot(by_day.format("interaction_count", "ai_audit_daily"))) == by_source
    settings = home.settings()
    with DuckDBWarehouse(settings.duckdb_path, settings.lock_path).connection("a test") as connection:
        totals = connection.execute(
            "select count(*), count(distinct id), min(created_at)::date::varchar from analytics.ai_audit_logs"
        ).fetchall()
    assert totals == [(sum(by_source.values()), sum(by_source.values()), min(by_source))]
    assert whole(home)


_BY_DAY_AT_SOURCE = "select (created_at at time zone 'UTC')::date, count(*) from ai_audit_logs group by 1"


def kill_and_repair(home: Home, runs: Runs, kills: int) -> Counter[tuple[str, str]]:
    """Kills runs at random moments. Returns the number of kills by phase and progress."""
    chance = random.Random(11)
    histogram: Counter[tuple[str, str]] = Counter()
    number = 0
    for phase, longest in PHASES.items():
        while sum(count for (name, _), count in histogram.items() if name == phase) < kills:
            number += 1
            home.insert(20, prefix=f"kill{number}-")
            home.insert(5, at=NOW - timedelta(minutes=5), prefix=f"late{number}-")
            part = chance.random()
            if runs.kill_in(phase, part * longest):
                histogram[phase, f"{int(part * 4)}/4"] += 1
            assert whole(home)
            assert_repaired(home)
    return histogram


def test_a_run_killed_in_models_or_publishing_is_repaired_by_the_next(home: Home, runs: Runs):
    kill_and_repair(home, runs, kills=2)


@pytest.mark.slow
def test_many_runs_killed_in_models_or_publishing_are_repaired_by_the_next(home: Home, runs: Runs):
    histogram = kill_and_repair(home, runs, kills=6)
    print("\nkills by phase and progress")
    for (phase, part), count in sorted(histogram.items()):
        print(f"  {phase:8} {part}  {'#' * count}")
