"""The pages without a browser: what the server says of no data, old data, broken tiles and odd addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask.testing
import pytest

from audit_assets.dashboards.addresses import Addresses
from audit_assets.dashboards.app import make_app
from audit_assets.dashboards.board import Asked, Board
from audit_assets.dashboards.load import load_definition, path_of
from audit_assets.dashboards.reader import SnapshotReader
from audit_assets_tests.dashboards.shipped import SHIPPED, Copy
from audit_assets_tests.homes import Home

PAGES = ("overview", "workspace", "capability", "audit_log")


def board_of(snapshot: Path, definition: Path = SHIPPED) -> Board:
    loaded = load_definition(definition)
    return Board(loaded, SnapshotReader(snapshot, loaded.reads), Addresses())


def rendered(board: Board, page: str, asked: Asked | None = None, now: datetime | None = None) -> Any:
    found = board.definition.page(page)
    assert found is not None
    return board.render(found, path_of(page), asked or {}, now or datetime.now(UTC))


def parts(component: Any) -> Iterator[Any]:
    """A component and all below it; texts are among them."""
    if isinstance(component, list | tuple):
        for one in component:
            yield from parts(one)
    elif component is not None:
        yield component
        yield from parts(getattr(component, "children", None))


def words_of(component: Any) -> str:
    return " ".join(str(one) for one in parts(component) if isinstance(one, str | int | float))


def tiles_of(page: Any) -> dict[str, str]:
    """Tile → its words."""
    found = [one for one in parts(page) if str(getattr(one, "className", "")).startswith("tile ")]
    return {one.id: words_of(one) for one in found}


@pytest.fixture(scope="module")
def nothing(emptied: Home) -> Board:
    """Over a snapshot whose tables hold no row."""
    return board_of(emptied.folder / "published")


@pytest.fixture(scope="module")
def client(nothing: Board, tmp_path_factory: pytest.TempPathFactory) -> flask.testing.FlaskClient:
    return make_app(nothing, tmp_path_factory.mktemp("cache")).test_client()


@pytest.mark.parametrize("page", PAGES)
def test_before_anything_is_published_a_page_says_what_to_run(tmp_path: Path, page: str):
    said = words_of(rendered(board_of(tmp_path), page))

    assert "Nothing has been published yet" in said
    assert "make demo" in said
    assert "audit sync" in said


@pytest.mark.parametrize("page", PAGES)
def test_over_tables_without_a_row_every_tile_says_so_and_none_fails(nothing: Board, page: str):
    shown = rendered(nothing, page)

    tiles = tiles_of(shown)
    definition = nothing.definition.page(page)
    assert definition is not None
    assert list(tiles) == [tile.id for tile in definition.tiles]
    assert [text for text in tiles.values() if "Unavailable" in text] == []
    charts = [tile.id for tile in definition.tiles if tile.show not in ("kpi", "gauge")]
    assert [tile for tile in charts if "Nothing in this range" not in tiles[tile]] == []


def test_a_figure_without_a_row_is_nought_or_a_dash_and_compares_with_nothing(nothing: Board):
    tiles = tiles_of(rendered(nothing, "overview"))

    assert " 0 in 24 h" in tiles["T01"]
    assert " – in 24 h" in tiles["T03"]
    assert "nothing to compare with" in tiles["T01"]


@pytest.mark.requirement("T22")
@pytest.mark.parametrize(
    ("passed", "said", "gauge"),
    [
        (timedelta(minutes=1), "target under 5 min", "on target"),
        (timedelta(minutes=20), "later than it should be", "late"),
        (timedelta(hours=3), "stale: the sync is not running", "late"),
    ],
)
def test_how_old_the_data_are_is_said_on_every_page(nothing: Board, passed: timedelta, said: str, gauge: str):
    freshness = nothing.reader.freshness()
    assert freshness is not None
    assert freshness.last_synced_at is not None
    now = freshness.last_synced_at + passed

    for page in PAGES:
        line = [
            one for one in parts(rendered(nothing, page, now=now)) if "freshness" in str(getattr(one, "className", ""))
        ]
        assert said in words_of(line)
    assert f" {gauge} " in tiles_of(rendered(nothing, "workspace", now=now))["T22"]


def test_only_the_tile_whose_query_fails_is_unavailable_and_it_says_why(emptied: Home, shipped: Copy):
    shipped.change("metrics.yaml", "sum(n) as interactions\n      from ranked\n      group by provider",
                   "sum(no_such_column) as interactions\n      from ranked\n      group by provider")  # fmt: skip

    tiles = tiles_of(rendered(board_of(emptied.folder / "published", shipped.folder), "overview"))

    assert [tile for tile, text in tiles.items() if "Unavailable" in text] == ["T09"]
    assert "no_such_column" in tiles["T09"]
    assert "Nothing in this range" in tiles["T07"]


def test_only_the_tile_whose_chart_raises_is_unavailable(nothing: Board, monkeypatch: pytest.MonkeyPatch):
    def raises(*_: Any) -> Any:
        raise ZeroDivisionError("drawn badly")

    monkeypatch.setattr("audit_assets.dashboards.cards.gauge", raises)

    tiles = tiles_of(rendered(nothing, "workspace"))

    assert [tile for tile, text in tiles.items() if "Unavailable" in text] == ["T22"]
    assert "ZeroDivisionError: drawn badly" in tiles["T22"]


def test_a_table_that_is_not_published_yet_is_named_with_what_makes_it(emptied: Home, shipped: Copy):
    shipped.change("metrics.yaml", "table: ai_audit_error_funnel", "table: ai_audit_no_such_table")

    tiles = tiles_of(rendered(board_of(emptied.folder / "published", shipped.folder), "overview"))

    assert "ai_audit_no_such_table is not published yet: run `audit build`" in tiles["T11"]
    assert [tile for tile, text in tiles.items() if "Unavailable" in text] == ["T11"]


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("path", ["/overview", "/audit-overview"])
def test_addresses_of_others_lead_to_overview_and_keep_their_query(client: flask.testing.FlaskClient, path: str):
    answer = client.get(f"{path}?capability=a%26b&capability=%C3%A9&from=2026-11-01")

    assert (answer.status_code, answer.location) == (302, "/?capability=a%26b&capability=%C3%A9&from=2026-11-01")
    assert client.get(path).location == "/"


@pytest.mark.parametrize("path", ["/", "/workspace", "/capability", "/audit-log"])
def test_a_page_asks_for_nothing_outside(client: flask.testing.FlaskClient, path: str):
    text = client.get(path).get_data(as_text=True)

    assert "<html lang='en'" in text
    loaded = re.findall(r"""(?:src|href)=["']?([^"' >]+)""", text)
    assert loaded
    assert [address for address in loaded if not re.match("/(?!/)", address)] == []


def test_rows_behind_a_tile_are_a_page_and_a_file_and_an_unknown_tile_is_not_there(client: flask.testing.FlaskClient):
    page, file = client.get("/data/T29?range=14d"), client.get("/data/T29.csv?range=14d")

    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "0 rows" in page.get_data(as_text=True)
    assert 'href="/data/T29.csv?range=14d"' in page.get_data(as_text=True)
    assert (file.status_code, file.mimetype) == (200, "text/csv")
    assert file.get_data(as_text=True).splitlines()[0].startswith("date,capability,interaction_count,")
    assert client.get("/data/T99").status_code == 404
    assert client.get("/data/<script>").status_code == 404
    assert client.get("/data/<script>").mimetype == "text/plain"  # or the name would be run


def test_rows_that_cannot_be_read_are_a_503_with_the_mend(tmp_path: Path):
    answer = make_app(board_of(tmp_path), tmp_path / "cache").test_client().get("/data/T01.csv")

    assert answer.status_code == 503
    assert "make demo" in answer.get_data(as_text=True)


def test_health_says_whether_there_is_something_to_show(client: flask.testing.FlaskClient):
    assert json.loads(client.get("/healthz").get_data(as_text=True)) == {"ok": True}


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_answers_are_small_where_the_browser_takes_them_so(client: flask.testing.FlaskClient, coding: str):
    plain = client.get("/_dash-layout")
    small = client.get("/_dash-layout", headers={"Accept-Encoding": coding})

    assert small.headers["Content-Encoding"] == coding
    assert len(small.get_data()) < len(plain.get_data()) / 2
