"""The pages without a browser: missing data, stale data, broken tiles and unusual URLs."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import brotli
import flask.testing
import pytest

from audit_assets.clock import Clock
from audit_assets.dashboards.definition.load import load_definition, page_path
from audit_assets.dashboards.query.reader import SnapshotReader
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.page_renderer import PageRenderer, QueryArgs
from audit_assets.dashboards.server.app import make_app
from audit_assets_tests.dashboards.shipped import SHIPPED, Copy
from audit_assets_tests.environments import NOW, Home

PAGES = ("overview", "workspace", "capability", "audit_log")


def renderer_of(snapshot: Path, definition: Path = SHIPPED) -> PageRenderer:
    loaded = load_definition(definition)
    return PageRenderer(loaded, SnapshotReader(snapshot, loaded.reads), Links())


def rendered(renderer: PageRenderer, page: str, args: QueryArgs | None = None, now: datetime | None = None) -> Any:
    found = renderer.definition.page(page)
    assert found is not None
    return renderer.render(found, page_path(page), args or {}, now or NOW)


def parts(component: Any) -> Iterator[Any]:
    """A component and its descendants, including texts."""
    if isinstance(component, list | tuple):
        for one in cast("Sequence[Any]", component):
            yield from parts(one)
    elif component is not None:
        yield component
        yield from parts(getattr(component, "children", None))


def text_of(component: Any) -> str:
    return " ".join(str(one) for one in parts(component) if isinstance(one, str | int | float))


def tiles_of(page: Any) -> dict[str, str]:
    """Tile → its text."""
    found = [one for one in parts(page) if str(getattr(one, "className", "")).startswith("tile ")]
    return {one.id: text_of(one) for one in found}


@pytest.fixture(scope="module")
def nothing(emptied: Home) -> PageRenderer:
    """A renderer for a snapshot with empty tables."""
    return renderer_of(emptied.folder / "published")


@pytest.fixture(scope="module")
def client(nothing: PageRenderer, tmp_path_factory: pytest.TempPathFactory) -> flask.testing.FlaskClient:
    return make_app(nothing, Clock(NOW)).test_client()


@pytest.mark.parametrize("page", PAGES)
def test_before_the_first_publish_a_page_shows_what_to_run(tmp_path: Path, page: str):
    text = text_of(rendered(renderer_of(tmp_path), page))

    assert "Nothing has been published yet" in text
    assert "make demo" in text
    assert "audit sync" in text


@pytest.mark.parametrize("page", PAGES)
def test_with_empty_tables_every_tile_shows_its_empty_state_and_none_fails(nothing: PageRenderer, page: str):
    shown = rendered(nothing, page)

    tiles = tiles_of(shown)
    definition = nothing.definition.page(page)
    assert definition is not None
    assert list(tiles) == [tile.id for tile in definition.tiles]
    assert [text for text in tiles.values() if "Unavailable" in text] == []
    charts = [tile.id for tile in definition.tiles if tile.show not in ("kpi", "gauge")]
    assert [tile for tile in charts if "No data in this range" not in tiles[tile]] == []


def test_a_kpi_without_rows_is_zero_or_a_dash_and_has_no_comparison(nothing: PageRenderer):
    tiles = tiles_of(rendered(nothing, "overview"))

    assert " 0 in 24 h" in tiles["T01"]
    assert " – in 24 h" in tiles["T03"]
    assert "no data in the previous" in tiles["T01"]


@pytest.mark.requirement("T22")
@pytest.mark.parametrize(
    ("passed", "text", "gauge"),
    [
        (timedelta(minutes=1), "target under 5 min", "on target"),
        (timedelta(minutes=20), "above target", "late"),
        (timedelta(hours=3), "stale: the sync is not running", "late"),
    ],
)
def test_every_page_shows_the_age_of_the_data(nothing: PageRenderer, passed: timedelta, text: str, gauge: str):
    freshness = nothing.reader.freshness()
    assert freshness is not None
    assert freshness.last_synced_at is not None
    now = freshness.last_synced_at + passed

    for page in PAGES:
        line = [
            one for one in parts(rendered(nothing, page, now=now)) if "freshness" in str(getattr(one, "className", ""))
        ]
        assert text in text_of(line)
    assert f" {gauge} " in tiles_of(rendered(nothing, "workspace", now=now))["T22"]


def test_only_the_tile_whose_query_fails_is_unavailable_and_shows_the_reason(emptied: Home, shipped: Copy):
    shipped.change("metrics.yaml", "sum(n) as interactions\n      from ranked\n      group by provider",
                   "sum(no_such_column) as interactions\n      from ranked\n      group by provider")  # fmt: skip

    tiles = tiles_of(rendered(renderer_of(emptied.folder / "published", shipped.folder), "overview"))

    assert [tile for tile, text in tiles.items() if "Unavailable" in text] == ["T09"]
    assert "no_such_column" in tiles["T09"]
    assert "No data in this range" in tiles["T07"]


def test_only_the_tile_whose_chart_raises_is_unavailable(nothing: PageRenderer, monkeypatch: pytest.MonkeyPatch):
    def raises(*_: Any) -> Any:
        raise ZeroDivisionError("drawn badly")

    monkeypatch.setattr("audit_assets.dashboards.render.cards.gauge", raises)

    tiles = tiles_of(rendered(nothing, "workspace"))

    assert [tile for tile, text in tiles.items() if "Unavailable" in text] == ["T22"]
    assert "ZeroDivisionError: drawn badly" in tiles["T22"]


def test_a_table_that_is_not_published_yet_is_named_with_the_command_that_builds_it(emptied: Home, shipped: Copy):
    shipped.change("metrics.yaml", "table: ai_audit_error_funnel", "table: ai_audit_no_such_table")

    tiles = tiles_of(rendered(renderer_of(emptied.folder / "published", shipped.folder), "overview"))

    assert "ai_audit_no_such_table is not published yet: run `audit build`" in tiles["T11"]
    assert [tile for tile, text in tiles.items() if "Unavailable" in text] == ["T11"]


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("path", ["/overview", "/audit-overview"])
def test_alias_urls_redirect_to_overview_and_keep_their_query(client: flask.testing.FlaskClient, path: str):
    answer = client.get(f"{path}?capability=a%26b&capability=%C3%A9&from=2026-11-01")

    assert (answer.status_code, answer.location) == (302, "/?capability=a%26b&capability=%C3%A9&from=2026-11-01")
    assert client.get(path).location == "/"


@pytest.mark.parametrize("path", ["/", "/workspace", "/capability", "/audit-log"])
def test_a_page_loads_nothing_from_other_hosts(client: flask.testing.FlaskClient, path: str):
    text = client.get(path).get_data(as_text=True)

    assert "<html lang='en'" in text
    loaded = re.findall(r"""(?:src|href)=["']?([^"' >]+)""", text)
    assert loaded
    assert [address for address in loaded if not re.match("/(?!/)", address)] == []


def test_the_rows_of_a_tile_are_served_as_page_and_csv_and_an_unknown_tile_is_404(client: flask.testing.FlaskClient):
    page, file = client.get("/data/T29?range=14d"), client.get("/data/T29.csv?range=14d")

    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "0 rows" in page.get_data(as_text=True)
    assert 'href="/data/T29.csv?range=14d"' in page.get_data(as_text=True)
    assert (file.status_code, file.mimetype) == (200, "text/csv")
    assert file.get_data(as_text=True).splitlines()[0].startswith("date,capability,interaction_count,")
    assert client.get("/data/T99").status_code == 404
    assert client.get("/data/<script>").status_code == 404
    assert client.get("/data/<script>").mimetype == "text/plain"  # otherwise the name would be executed


def test_rows_that_cannot_be_read_are_a_503_with_the_fix(tmp_path: Path):
    answer = make_app(renderer_of(tmp_path), Clock(NOW)).test_client().get("/data/T01.csv")

    assert answer.status_code == 503
    assert "make demo" in answer.get_data(as_text=True)


def test_healthz_reports_whether_data_is_published(client: flask.testing.FlaskClient):
    assert json.loads(client.get("/healthz").get_data(as_text=True)) == {"ok": True}


# Over plain HTTP, browsers accept no brotli, except from this machine.
@pytest.mark.parametrize(
    ("accepted", "layout", "script"), [("gzip, deflate, br", "br", "br"), ("gzip, deflate", "gzip", "deflate")]
)
def test_layouts_and_scripts_are_compressed_as_the_browser_accepts(
    client: flask.testing.FlaskClient, accepted: str, layout: str, script: str
):
    decompress: dict[str, Callable[[bytes], bytes]] = {
        "br": brotli.decompress,
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
    }
    for path, coding in (("/_dash-layout", layout), ("/assets/dashboards.js", script)):
        whole = client.get(path).data
        response = client.get(path, headers={"Accept-Encoding": accepted})
        assert response.headers["Content-Encoding"] == coding
        assert len(response.data) < len(whole) / 2
        assert decompress[coding](response.data) == whole


def test_a_short_response_is_not_compressed(client: flask.testing.FlaskClient):
    response = client.get("/healthz", headers={"Accept-Encoding": "br"})
    assert "Content-Encoding" not in response.headers
