"""The published snapshot while it is replaced: readers see one consistent state, and kills leave it complete."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_assets_tests.forkserver import ForkServer, fork_server
from audit_assets_tests.warehouse.publishing import assert_whole, counts

KILLS = 12
READS = 60


@pytest.fixture(scope="module")
def publishers() -> Iterator[ForkServer]:
    with fork_server("audit_assets_tests.warehouse.publishing:publish_for_ever") as publishers:
        yield publishers


def test_a_publishing_killed_at_any_moment_leaves_a_whole_snapshot(publishers: ForkServer, tmp_path: Path):
    rng = random.Random(3)
    seen: set[str] = set()
    for _ in range(KILLS):
        child = publishers.child(str(tmp_path))
        assert child.line()
        time.sleep(rng.uniform(0.0, 0.25))
        child.kill()
        assert child.ended() < 0
        seen.add(assert_whole(tmp_path / "published").snapshot_id)
    assert len(seen) == KILLS


def test_readers_during_publishing_see_one_moment_and_no_error(publishers: ForkServer, tmp_path: Path):
    child = publishers.child(str(tmp_path))
    assert child.line()
    seen: set[int] = set()
    for _ in range(READS):
        by_logs, by_stats, by_daily = counts(tmp_path / "published")
        assert by_logs == by_stats == by_daily
        seen.add(by_logs)
    child.kill()
    assert child.ended() < 0
    assert len(seen) > 10
