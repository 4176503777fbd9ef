"""Real processes, real SIGKILL, failing providers: no loss and no duplicates. `make bench` kills 200 times."""

from pathlib import Path

import pytest

from tools.alerting_chaos import chaos

pytestmark = pytest.mark.requirement("R40", "R41")


def test_killed_at_random_moments_every_incident_opens_and_closes_once(ledger_url: str, tmp_path: Path):
    after = chaos(ledger_url, tmp_path, episodes=6, kills=8)
    assert (after.left, after.lost, after.not_once) == (0, 0, [])
    assert after.seen.delivered_twice == []
    assert (len(after.seen.posts), len(after.seen.replies)) == (6, 6)
    assert sum(after.kills.values()) >= 4


def test_many_recorders_and_deliverers_on_one_ledger_lose_nothing(ledger_url: str, tmp_path: Path):
    after = chaos(ledger_url, tmp_path, episodes=8, kills=0, deliverers=3, recorders=3)
    assert (after.left, after.lost, after.not_once) == (0, 0, [])
    assert after.seen.delivered_twice == []
    assert (len(after.seen.posts), len(after.seen.replies)) == (8, 8)
