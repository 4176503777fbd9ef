"""What single tiles say and where they lead, over a home with made traffic."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from audit_assets.alerting.pagerduty_event import draft_link
from audit_assets.dashboards.addresses import Addresses
from audit_assets.dashboards.board import Asked, Board
from audit_assets.dashboards.charts import draw
from audit_assets.dashboards.definition import Tile
from audit_assets.dashboards.plotting import Figure, Marks
from audit_assets.dashboards.query import tile_query
from audit_assets.dashboards.scope import read_scope
from audit_assets.dashboards.words import figure as figure_of
from audit_assets_tests.dashboards.proving import Dashboards
from audit_assets_tests.dashboards.test_pages import parts, rendered, words_of

ACCOUNT = "https://example.pagerduty.com"


@pytest.fixture(scope="module")
def board(dashboards: Dashboards) -> Board:
    addresses = Addresses(
        app="https://app.example",
        docs="https://docs.example",
        draft=lambda title: draft_link(ACCOUNT, title, "PABC123"),
        runbooks={"volume_spike": "volume_spike"},
    )
    return Board(dashboards.definition, dashboards.reader, addresses)


def tile_of(board: Board, tile: str) -> Tile:
    return next(one for _, one in board.definition.tiles if one.id == tile)


def shown(board: Board, dashboards: Dashboards, page: str, tile: str, asked: Asked | None = None) -> Any:
    content = rendered(board, page, asked, dashboards.now)
    return next(one for one in parts(content) if getattr(one, "id", None) == tile)


def links(component: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in parts(component):
        if getattr(one, "href", None):
            found.setdefault(words_of(one.children), []).append(one.href)
    return found


def figure(board: Board, dashboards: Dashboards, tile: str, asked: Asked | None = None) -> Figure:
    one = tile_of(board, tile)
    scope, _ = read_scope(asked or {"range": "14d"}, dashboards.now)
    source = board.definition.source(one.source)
    rows = board.reader.read(tile_query(one, source, scope))
    return draw(one, source, rows, Marks(today=dashboards.now.date()))


@pytest.mark.requirement("T19")
@pytest.mark.parametrize("name", ["team", "owner"])
def test_workspaces_are_those_of_a_team_or_an_owner(board: Board, dashboards: Dashboards, name: str):
    tile = tile_of(board, "T14")
    everyone = board.rows(tile, {}, dashboards.now)
    for value in (everyone[name].mode()[0], everyone[name].unique().sort()[-1]):
        rows = board.rows(tile, {name: value}, dashboards.now)
        assert rows["workspace_id"].to_list() == everyone.filter(everyone[name] == value)["workspace_id"].to_list()
        assert 0 < len(rows) < len(everyone)


@pytest.mark.requirement("T14", "T15", "T16", "T20")
def test_a_silent_workspace_is_listed_and_leads_to_its_page_and_its_records(board: Board, dashboards: Dashboards):
    rows = board.rows(tile_of(board, "T14"), {"activity": "inactive 7d"}, dashboards.now)
    silent = rows.filter(rows["total_interactions"] == 0)
    assert len(silent)
    assert set(rows["activity"].to_list()) == {"inactive 7d"}
    row = silent.row(0, named=True)
    asked = {"activity": "inactive 7d", "team": row["team"], "owner": row["owner"], "T14": "99"}  # the last page
    table = shown(board, dashboards, "workspace", "T14", asked)
    assert f"https://app.example/workspaces/{row['workspace_id']}" in links(table)["Open"]
    assert f"/audit-log?workspace={row['workspace_id']}" in links(table)["Raw records"]


@pytest.mark.requirement("T03")
def test_the_error_rate_has_the_unknown_ones_beside_it_and_the_literal_figure_on_pointing(
    board: Board, dashboards: Dashboards
):
    tile = shown(board, dashboards, "overview", "T03")
    rows = board.rows(tile_of(board, "T03"), {}, dashboards.now)
    assert f"{rows['unknown'].item():,} unknown outcome" in words_of(tile)
    said = [one.title for one in parts(tile) if isinstance(getattr(one, "title", None), str)]
    assert any(f": {figure_of(rows['literal_error_rate'].item(), 'share')}" in one for one in said)
    assert rows["literal_error_rate"].item() > rows["error_rate"].item()


@pytest.mark.requirement("T29", "T35")
def test_a_spike_leads_to_its_logs_its_runbook_and_a_draft_of_an_incident(board: Board, dashboards: Dashboards):
    tile = tile_of(board, "T29")
    rows = board.rows(tile, {}, dashboards.now)
    assert rows["date"].min() == dashboards.now.date() - timedelta(days=13)
    capability = rows.filter(rows["deviation_state"] == "spike")["capability"][0]
    table = shown(board, dashboards, "capability", "T29", {"capability": capability})
    drafts = [parse_qs(urlsplit(href).query) for href in links(table)["Draft incident"]]
    assert any(draft["title"][0].startswith(f"AI Copilot Audit: {capability} spike on ") for draft in drafts)
    assert all(href.startswith(f"{ACCOUNT}/incidents/create?") for href in links(table)["Draft incident"])
    assert "https://docs.example/INGESTION_WORKFLOW.md#volume_spike" in links(table)["Runbook"]
    assert all(parse_qs(urlsplit(href).query)["capability"] == [capability] for href in links(table)["Raw logs"])


@pytest.mark.requirement("T06")
def test_the_error_rate_has_its_target_as_a_line_and_a_band(board: Board, dashboards: Dashboards):
    shapes = figure(board, dashboards, "T06")["layout"]["shapes"]
    assert [(one["y0"], one["y1"]) for one in shapes if one["type"] == "rect" and one["yref"] == "y"] == [(0, 0.05)]
    assert [one["y0"] for one in shapes if one["type"] == "line" and one["yref"] == "y"] == [0.05]


@pytest.mark.requirement("R36", "T30")
def test_days_beyond_two_deviations_are_marked_and_the_running_one_is_never_low(board: Board, dashboards: Dashboards):
    drawn = figure(board, dashboards, "T30")
    scope, _ = read_scope({"range": "14d"}, dashboards.now)
    tile = tile_of(board, "T30")
    rows = board.reader.read(tile_query(tile, board.definition.source("volume"), scope))
    beyond = [
        row["date"]
        for row in rows.iter_rows(named=True)
        if row["high"] is not None
        and (
            row["interactions"] > row["high"]
            or (
                (row["interactions"] < row["mean_7d"] - 2 * (row["high"] - row["mean_7d"]) / 2)
                and row["date"] < dashboards.now.date()
            )
        )
    ]
    (marked,) = [trace for trace in drawn["data"] if trace["name"] == "beyond 2σ"] if beyond else [{"x": []}]
    assert marked["x"] == beyond


@pytest.mark.requirement("T05")
def test_the_smallest_capabilities_are_one_band_and_no_row_is_lost(board: Board, dashboards: Dashboards):
    drawn = figure(board, dashboards, "T05")
    areas = [trace for trace in drawn["data"] if trace["type"] == "scatter"]
    assert len(areas) == tile_of(board, "T05").limit + 1
    assert areas[0]["name"] == "Other"
    scope, _ = read_scope({"range": "14d"}, dashboards.now)
    total = board.rows(tile_of(board, "T11"), {"range": "14d"}, dashboards.now)["interactions"].item()
    assert sum(sum(trace["y"]) for trace in areas) == total
    assert scope.first < scope.last


@pytest.mark.requirement("T10")
def test_a_filter_that_a_source_does_not_answer_to_is_named(board: Board, dashboards: Dashboards):
    capability = board.rows(tile_of(board, "T05"), {}, dashboards.now)["capability"].drop_nulls()[0]
    asked = {"capability": capability}
    assert "not narrowed by capability" in words_of(shown(board, dashboards, "overview", "T13", asked))
    assert "not narrowed" not in words_of(shown(board, dashboards, "overview", "T05", asked))
