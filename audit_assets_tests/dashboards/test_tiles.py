"""The content and links of single tiles, on a home with simulated traffic."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from audit_assets.alerting.channels.pagerduty_event import draft_link
from audit_assets.dashboards.definition.model import Tile
from audit_assets.dashboards.query.scope import read_scope
from audit_assets.dashboards.query.sql import tile_query
from audit_assets.dashboards.render.charts import draw
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.page_renderer import PageRenderer, QueryArgs
from audit_assets.dashboards.render.plotting import Annotations, Figure
from audit_assets.text.formatting import figure as figure_of
from audit_assets.warehouse.snapshot import open_snapshot
from audit_assets_tests.dashboards.proving import Dashboards
from audit_assets_tests.dashboards.test_pages import parts, rendered, text_of

ACCOUNT = "https://example.pagerduty.com"


@pytest.fixture(scope="module")
def renderer(dashboards: Dashboards) -> PageRenderer:
    targets = Links(
        app="https://app.example",
        docs="https://docs.example",
        draft=lambda title: draft_link(ACCOUNT, title, "PABC123"),
        runbooks={"volume_spike": "volume_spike"},
    )
    return PageRenderer(dashboards.definition, dashboards.reader, targets)


def tile_of(renderer: PageRenderer, tile: str) -> Tile:
    return next(one for _, one in renderer.definition.tiles if one.id == tile)


def shown(renderer: PageRenderer, dashboards: Dashboards, page: str, tile: str, args: QueryArgs | None = None) -> Any:
    content = rendered(renderer, page, args, dashboards.now)
    return next(one for one in parts(content) if getattr(one, "id", None) == tile)


def links(component: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in parts(component):
        if getattr(one, "href", None):
            found.setdefault(text_of(one.children), []).append(one.href)
    return found


def figure(renderer: PageRenderer, dashboards: Dashboards, tile: str, args: QueryArgs | None = None) -> Figure:
    one = tile_of(renderer, tile)
    scope, _ = read_scope(args or {"range": "14d"}, dashboards.now)
    source = renderer.definition.source(one.source)
    rows = renderer.reader.read(tile_query(one, source, scope))
    return draw(one, source, rows, Annotations(today=dashboards.now.date()))


@pytest.mark.requirement("T19")
@pytest.mark.parametrize("name", ["team", "owner"])
def test_workspaces_are_those_of_a_team_or_an_owner(renderer: PageRenderer, dashboards: Dashboards, name: str):
    tile = tile_of(renderer, "T14")
    everyone = renderer.rows(tile, {}, dashboards.now)
    for value in (everyone[name].mode()[0], everyone[name].unique().sort()[-1]):
        rows = renderer.rows(tile, {name: value}, dashboards.now)
        assert rows["workspace_id"].to_list() == everyone.filter(everyone[name] == value)["workspace_id"].to_list()
        assert 0 < len(rows) < len(everyone)


@pytest.mark.requirement("T14", "T15", "T16", "T20")
def test_a_silent_workspace_is_listed_and_leads_to_its_page_and_its_records(
    renderer: PageRenderer, dashboards: Dashboards
):
    rows = renderer.rows(tile_of(renderer, "T14"), {"activity": "inactive 7d"}, dashboards.now)
    silent = rows.filter(rows["total_interactions"] == 0)
    assert len(silent)
    assert set(rows["activity"].to_list()) == {"inactive 7d"}
    row = silent.row(0, named=True)
    args = {"activity": "inactive 7d", "team": row["team"], "owner": row["owner"], "T14": "99"}  # the last page
    table = shown(renderer, dashboards, "workspace", "T14", args)
    assert f"https://app.example/workspaces/{row['workspace_id']}" in links(table)["Open"]
    assert f"/audit-log?workspace={row['workspace_id']}" in links(table)["Raw records"]


@pytest.mark.requirement("T03")
def test_the_error_rate_shows_unknown_outcomes_and_the_literal_rate_in_its_tooltip(
    renderer: PageRenderer, dashboards: Dashboards
):
    tile = shown(renderer, dashboards, "overview", "T03")
    rows = renderer.rows(tile_of(renderer, "T03"), {}, dashboards.now)
    assert f"{rows['unknown'].item():,} unknown outcome" in text_of(tile)
    titles = [one.title for one in parts(tile) if isinstance(getattr(one, "title", None), str)]
    assert any(f": {figure_of(rows['literal_error_rate'].item(), 'share')}" in one for one in titles)
    with open_snapshot(dashboards.snapshot, ["ai_audit_logs"]) as connection:
        ((literal,),) = connection.execute(
            """select avg(case when status = 'success' then 0 else 1 end) from analytics.ai_audit_logs
            where drill_id is null and provider <> 'stub' and created_at >= ? and created_at < ?""",
            [dashboards.now - timedelta(hours=24), dashboards.now],
        ).fetchall()
    assert rows["literal_error_rate"].item() == pytest.approx(literal)
    assert literal != rows["error_rate"].item()


@pytest.mark.requirement("T29", "T35")
def test_a_spike_leads_to_its_logs_its_runbook_and_a_draft_of_an_incident(
    renderer: PageRenderer, dashboards: Dashboards
):
    tile = tile_of(renderer, "T29")
    rows = renderer.rows(tile, {}, dashboards.now)
    assert rows["date"].min() == dashboards.now.date() - timedelta(days=13)
    capability = rows.filter(rows["deviation_state"] == "spike")["capability"][0]
    table = shown(renderer, dashboards, "capability", "T29", {"capability": capability})
    drafts = [parse_qs(urlsplit(href).query) for href in links(table)["Draft incident"]]
    assert any(draft["title"][0].startswith(f"AI Copilot Audit: {capability} spike on ") for draft in drafts)
    assert all(href.startswith(f"{ACCOUNT}/incidents/create?") for href in links(table)["Draft incident"])
    assert "https://docs.example/INGESTION_WORKFLOW.md#volume_spike" in links(table)["Runbook"]
    assert all(parse_qs(urlsplit(href).query)["capability"] == [capability] for href in links(table)["Raw logs"])


@pytest.mark.requirement("T06")
def test_the_error_rate_has_its_target_as_a_line_and_a_band(renderer: PageRenderer, dashboards: Dashboards):
    shapes = figure(renderer, dashboards, "T06")["layout"]["shapes"]
    assert [(one["y0"], one["y1"]) for one in shapes if one["type"] == "rect" and one["yref"] == "y"] == [(0, 0.05)]
    assert [one["y0"] for one in shapes if one["type"] == "line" and one["yref"] == "y"] == [0.05]


@pytest.mark.requirement("R36", "T30")
def test_days_beyond_two_deviations_are_marked_and_the_running_one_is_never_low(
    renderer: PageRenderer, dashboards: Dashboards
):
    args = {"range": "14d", "capability": "translation"}  # no day of all capabilities together deviates
    drawn = figure(renderer, dashboards, "T30", args)
    scope, _ = read_scope(args, dashboards.now)
    tile = tile_of(renderer, "T30")
    rows = renderer.reader.read(tile_query(tile, renderer.definition.source("volume"), scope))
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
    marked: list[Any] = [trace["x"] for trace in drawn["data"] if trace.get("name") == "beyond 2σ"]
    assert beyond
    assert marked == [beyond]


@pytest.mark.requirement("T05")
def test_the_smallest_capabilities_are_one_band_and_no_row_is_lost(renderer: PageRenderer, dashboards: Dashboards):
    drawn = figure(renderer, dashboards, "T05")
    areas = [trace for trace in drawn["data"] if trace["type"] == "scatter"]
    assert len(areas) == tile_of(renderer, "T05").limit + 1
    assert areas[0]["name"] == "Other"
    scope, _ = read_scope({"range": "14d"}, dashboards.now)
    total = renderer.rows(tile_of(renderer, "T11"), {"range": "14d"}, dashboards.now)["interactions"].item()
    assert sum(sum(trace["y"]) for trace in areas) == total
    assert scope.first < scope.last


@pytest.mark.requirement("T10")
def test_a_filter_that_a_source_does_not_support_is_named(renderer: PageRenderer, dashboards: Dashboards):
    capability = renderer.rows(tile_of(renderer, "T05"), {}, dashboards.now)["capability"].drop_nulls()[0]
    args = {"capability": capability}
    assert "Not filtered by capability" in text_of(shown(renderer, dashboards, "overview", "T13", args))
    assert "Not filtered" not in text_of(shown(renderer, dashboards, "overview", "T05", args))
