"""Placeholder names of the dashboards that are also real names: both are shown and not confused."""

import polars as pl
import pytest

from audit_assets.dashboards.render.charts import draw
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.plotting import Annotations
from audit_assets.dashboards.verify.frame_diff import diff_frames
from audit_assets_tests.dashboards.over_models import DEFINITION, TODAY, BuiltModels, Frames, built
from audit_assets_tests.models.conftest import Row

pytestmark = pytest.mark.requirement("R06", "R53")

TIME = f"{TODAY} 11:00:00+00"
TILES = {tile.id: tile for _, tile in DEFINITION.tiles}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> BuiltModels:
    """Calls without a workspace and of a workspace named `unassigned`; alerts of all capabilities, and of a
    capability with that name."""
    rows = [
        *(Row(f"none-{n}", TIME, workflow_id=None, capability="chat") for n in range(5)),
        *(Row(f"real-{n}", TIME, workflow_id=" unassigned ", capability="all capabilities") for n in range(2)),
        Row("real-failed", TIME, workflow_id="unassigned", capability="all capabilities", status="failed"),
        Row("other", TIME, workflow_id="w1", capability="Other"),
    ]
    return built(tmp_path_factory.mktemp("namesakes"), "warehouse", rows)


@pytest.fixture(scope="module")
def frames(shown: BuiltModels) -> Frames:
    return shown.frames()


def test_every_tile_agrees_with_its_reconciliation_query_under_their_filters(shown: BuiltModels, frames: Frames):
    for found in (frames, shown.frames(workspace="unassigned"), shown.frames(capability="all capabilities")):
        assert [name for name, (left, right) in found.items() if diff_frames(left, right, {})] == []


def test_a_workspace_called_unassigned_is_counted_and_listed_beside_the_calls_without_one(
    shown: BuiltModels, frames: Frames
):
    assert frames["T02"][0].item() == 2
    listed = frames["T14"][0].filter(pl.col("workspace_id") == "unassigned")
    assert listed["total_interactions"].to_list() == [3]
    assert frames["T17"][0].sort("workspace_id")["interactions"].to_list() == [3, 1]
    stats, _ = frames["ai_audit_workspace_stats"]
    unassigned = stats.filter((pl.col("workspace_id") == "unassigned") | pl.col("is_unassigned")).sort("is_unassigned")
    assert unassigned.select("is_unassigned", "total_interactions").rows() == [(False, 3), (True, 5)]
    records, _ = shown.frames(workspace="unassigned")["T34"]
    assert sorted(records["id"].to_list()) == ["real-0", "real-1", "real-failed"]


def test_an_alert_over_all_capabilities_counts_all_and_one_of_a_capability_called_so_its_own(frames: Frames):
    rows, _ = frames["T23"]
    alike = rows.filter(pl.col("capability") == "all capabilities").sort("is_total")
    assert alike.select("is_total", "interactions").rows() == [(False, 3), (True, 9)]
    tile = TILES["T23"]
    link = next(link for link in tile.row_links if link.label == "Raw records")
    urls = [Links().of_row(link, row) for row in alike.iter_rows(named=True)]
    assert urls == ["/audit-log?capability=all%20capabilities", "/audit-log"]


def test_a_capability_called_other_is_not_the_rest_of_a_chart(frames: Frames):
    tile = TILES["T05"]
    rows = frames["T05"][0].vstack(frames["T05"][0].head(1).with_columns(capability=pl.lit(None, pl.String)))
    drawn = draw(tile, DEFINITION.source(tile.source), rows, Annotations(today=TODAY))
    names = [trace["name"] for trace in drawn["data"] if trace["type"] == "scatter"]
    assert sorted(names) == ["Other", "all capabilities", "chat", "“Other”"]
