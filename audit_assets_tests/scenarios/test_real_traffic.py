"""Real LLM traffic through the whole pipeline: counts per day equal those of the file.

BurstGPT (HPMLL/BurstGPT), CC BY 4.0: hourly counts and log types are real.
"""

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.environments import Home

FILE = PROJECT_ROOT.parent / "shared/data/burstgpt_hourly_full.parquet"

pytestmark = [
    pytest.mark.requirement("R10", "R20"),
    pytest.mark.skipif(
        not FILE.exists(), reason="burstgpt_hourly_full.parquet is not at ../shared/data: no real traffic to run on"
    ),
]


def load_and_build(home: Home, file: Path, frame: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    """Loads the file with the command, syncs all of it, builds its days, and compares the counts."""
    from audit_assets.cli.app import main

    def audit(*arguments: str) -> dict[str, object]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["audit", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code == 0
        return json.loads(capsys.readouterr().out)

    loaded = audit("load", str(file), "--write-to-source", "--json")
    assert (loaded["loaded"], loaded["rejected"]) == (len(frame), 0)
    synced = audit("sync", "--mode", "full", "--json")
    assert (synced["records_added"], synced["records_rejected"]) == (len(frame), 0)
    days = frame.group_by(pl.col("created_at").dt.date().alias("date")).len().sort("date")
    first, last = days["date"][0], days["date"][-1]
    assert isinstance(first, date)
    outcome = home.build(first, last, mode="days")
    assert outcome.succeeded, outcome.failure
    daily = "select date, sum(interaction_count)::bigint from analytics.ai_audit_daily group by 1 order by 1"
    assert home.query_snapshot(daily) == days.rows()
    dense = "select count(*) from analytics.ai_audit_capability_stats where date between ? and ?"
    assert home.query_snapshot(dense.replace("?", "date '{}'").format(first, last))[0][0] >= (last - first).days


def test_the_first_days_of_real_traffic_are_counted_as_the_file_counts_them(
    empty_home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole = pl.scan_parquet(FILE)
    start = whole.select(pl.col("created_at").min()).collect().item()
    head = whole.filter(pl.col("created_at") < start + timedelta(days=3)).collect()
    assert len(head) > 1000
    head.write_parquet(tmp_path / "head.parquet")
    load_and_build(empty_home, tmp_path / "head.parquet", head, capsys)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_of_the_real_traffic_is_counted_as_the_file_counts_it(empty_home: Home, capsys: pytest.CaptureFixture[str]):
    frame = pl.read_parquet(FILE, columns=["created_at"])
    assert len(frame) == 1_429_698
    assert frame.select(pl.col("created_at").min()).item() > datetime(2023, 1, 1, tzinfo=UTC)
    load_and_build(empty_home, FILE, frame, capsys)
