"""External series: which files are read, the errors of invalid ones, and the models that run on them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from audit_assets.backtest.external_series import CountsError, build_grids, read_counts

pytestmark = pytest.mark.requirement("R38")


def written(folder: Path, **columns: object) -> Path:
    path = folder / "counts.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_numbered_bins_use_a_clock_without_time_zone_changes(tmp_path: Path):
    path = written(tmp_path, series=["a"] * 3, bin=[0, 1, 96], count=[1, 2, 3])
    counts = read_counts(path, 15, "America/Los_Angeles")
    starts = sorted(counts.rows.get_column("step_start"))
    assert starts[2] - starts[0] == timedelta(days=1)
    assert (starts[0].hour, starts[0].minute, counts.zone) == (0, 0, "UTC")
    assert [counts.bin_of(start) for start in starts] == ["0", "1", "96"]


def test_bins_that_are_times_keep_their_zone(tmp_path: Path):
    at = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
    path = written(tmp_path, series=["a"], bin=[at], count=[1])
    counts = read_counts(path, 15, "America/Los_Angeles")
    assert counts.zone == "America/Los_Angeles"
    assert counts.bin_of(at) == "2026-11-01T01:00:00-08:00"


def test_csv_is_read_as_well_and_rows_of_one_bin_are_added(tmp_path: Path):
    path = tmp_path / "counts.csv"
    path.write_text("series,bin,count\na,0,1\na,0,2\n")
    assert read_counts(path, 15, "UTC").rows.get_column("interaction_count").to_list() == [3]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"series": ["a"], "bin": [0]}, "the column count is missing; series, bin and count are required"),
        ({"series": ["a"], "bin": [0], "count": ["many"]}, "count is String, but whole numbers are expected"),
        ({"series": ["a"], "bin": ["x"], "count": [1]}, "bin is String, but whole numbers from 0 or times"),
        ({"series": ["a"], "bin": [0], "count": [None]}, "count is Null, but whole numbers are expected"),
        ({"series": [None, "a"], "bin": [0, 1], "count": [1, 1]}, "contains rows without series, bin or count"),
        (
            {"series": ["a"], "bin": [datetime(2026, 11, 1, 9, 7, tzinfo=UTC)], "count": [1]},
            "bins are not 15 minutes apart; set their width with --bin-minutes",
        ),
    ],
)
def test_invalid_counts_are_reported_with_their_fix(tmp_path: Path, columns: dict[str, object], message: str):
    with pytest.raises(CountsError, match=message.replace("(", r"\(")):
        read_counts(written(tmp_path, **columns), 15, "UTC")


def test_a_missing_or_unreadable_counts_file_is_reported(tmp_path: Path):
    with pytest.raises(CountsError, match="no such file"):
        read_counts(tmp_path / "nowhere.parquet", 15, "UTC")
    (tmp_path / "junk.parquet").write_bytes(b"junk")
    with pytest.raises(CountsError, match="is not a Parquet or CSV file"):
        read_counts(tmp_path / "junk.parquet", 15, "UTC")


@pytest.mark.requirement("R23b")
def test_the_models_give_each_series_its_own_grid(tmp_path: Path):
    bins = list(range(144 * 3))
    path = written(tmp_path, series=["a"] * len(bins), bin=bins, count=[6] * len(bins))
    grid = build_grids(read_counts(path, 10, "UTC"))["ai_audit_capability_grid"]
    assert grid.height == len(bins)
    assert set(grid.get_column("interaction_count")) == {6}
    assert grid.sort("step_start").get_column("day_count")[-1] == 6 * 144
