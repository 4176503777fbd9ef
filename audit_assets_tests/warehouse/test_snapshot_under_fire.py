"""The published snapshot while it is being replaced: readers see one moment, kills leave it whole."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_assets_tests.nursery import Nursery, nursery
from audit_assets_tests.warehouse.publishing import assert_whole, counts

KILLS = 12
READS = 60


@pytest.fixture(scope="module")
def publishers() -> Iterator[Nursery]:
    with nursery("audit_assets_tests.warehouse.publishing:publish_for_ever") as publishers:
        yield publishers


def test_a_publishing_killed_at_any_moment_leaves_a_whole_snapshot(publishers: Nursery, tmp_path: Path):
    chance = random.Random(3)
    seen: set[str] = set()
    for _ in range(KILLS):
        child = publishers.child(str(tmp_path))
        assert child.line()
        time.sleep(chance.uniform(0.0, 0.25))
        child.kill()
        assert child.ended() < 0
        seen.add(assert_whole(tmp_path / "published").snapshot_id)
    assert len(seen) == KILLS


def test_readers_during_publishing_see_one_moment_and_no_error(publishers: Nursery, tmp_path: Path):
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
