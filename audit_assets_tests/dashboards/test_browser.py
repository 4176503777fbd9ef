"""The pages in a real browser, with a server for a home that was built by the pipeline."""

from __future__ import annotations

import struct
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from audit_assets.dashboards.capture import INSTALL_HINT, CaptureError, ChromiumError, chromium_page, find_chromium
from audit_assets.dashboards.definition.load import load_definition
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.dashboards.browsing import Browsing, Reader, rows_of, text_of
from audit_assets_tests.dashboards.harmful import FORMULA, HARMFUL, LONG, MARKUP, QUOTED, RIGHT_TO_LEFT
from audit_assets_tests.environments import Home


def _has_chromium() -> bool:
    try:
        find_chromium()
    except ChromiumError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_chromium(), reason=f"Chromium is missing: {INSTALL_HINT}")

TABS = {"overview": "/", "workspace": "/workspace", "capability": "/capability"}
PAGES = {page.page: page for page in load_definition(PROJECT_ROOT / "observability/dashboards/ai-audit").pages}


@pytest.mark.requirement(
    "R50", "T01", "T02", "T03", "T04", "T05", "T06", "T07", "T08", "T09", "T11", "T12", "T13", "T14", "T17", "T21",
    "T22", "T23", "T24", "T25", "T26", "T27", "T28", "T29", "T30", "T31", "T32", "T33",
)  # fmt: skip
@pytest.mark.parametrize("tab", TABS)
def test_a_tab_shows_all_its_tiles_in_light_and_dark_and_is_accessible(reader: Reader, tab: str):
    reader.open(TABS[tab])

    assert set(reader.tiles()) == {tile.id for tile in PAGES[tab].tiles}
    assert reader.unavailable() == []
    assert reader.cut_off() == []
    assert all(tile.title in reader.tiles()[tile.id] for tile in PAGES[tab].tiles)
    assert reader.page.locator("html").get_attribute("lang") == "en"
    assert reader.theme() == "light"
    assert reader.accessibility_violations() == []

    reader.toggle_theme()

    assert reader.theme() == "dark"
    assert reader.accessibility_violations() == []


@pytest.mark.requirement("R50")
def test_the_age_of_the_data_counts_on_from_the_servers_now_and_an_open_page_turns_late(reader: Reader):
    """The server's fixed now is months before the browser's clock."""
    reader.page.clock.install()
    reader.open("/overview")
    line = reader.page.locator(".freshness")
    seen: list[tuple[str | None, bool, bool, bool]] = []
    for minutes in (0, 10, 70):
        reader.page.clock.fast_forward(minutes * 60_000)
        reader.page.clock.run_for(2_000)
        text = line.inner_text()
        seen.append((line.get_attribute("class"), "days old" in text, "above target" in text, "stale:" in text))
    assert seen == [
        ("freshness fresh", False, False, False),
        ("freshness late", False, True, False),
        ("freshness stale", False, False, True),
    ]


@pytest.mark.requirement("R50", "T34")
def test_the_audit_log_lists_interactions_and_is_accessible(reader: Reader):
    reader.open("/audit-log?capability=code_review")

    assert reader.page.locator("#T34 tbody tr").count() == 25
    assert set(reader.column("T34", "Capability")) == {"code_review"}
    assert reader.accessibility_violations() == []


@pytest.mark.requirement("R54", "T10")
def test_a_filter_that_is_clicked_narrows_the_figures_and_back_restores_them(reader: Reader):
    reader.open("/?range=14d")
    whole = sum(int(row["interactions"]) for row in rows_of(reader.site, "T05", range="14d"))
    reader.wait_for_bar_sum("T05", whole)

    reader.choose("Capability", "code_review")
    reader.wait_for_page("/", capability="code_review", range="14d")

    narrow = sum(int(row["interactions"]) for row in rows_of(reader.site, "T05", range="14d", capability="code_review"))
    assert 0 < narrow < whole
    reader.wait_for_bar_sum("T05", narrow)
    assert reader.filters("Capability") == "code_review"

    reader.choose("Provider", "openai")
    reader.wait_for_page("/", capability="code_review", provider="openai")
    reader.page.go_back()
    reader.wait_for_filter_cleared("provider")
    reader.wait_for_bar_sum("T05", narrow)
    reader.page.go_back()
    reader.wait_for_filter_cleared("capability")
    reader.wait_for_bar_sum("T05", whole)


@pytest.mark.requirement("T05")
@pytest.mark.parametrize("capability", ["chat_assist", "document_summary"])
def test_a_click_into_the_area_of_a_day_opens_that_capability(reader: Reader, capability: str):
    reader.open("/?range=14d")
    named = [
        (parse_qs(urlsplit(link).query)["capability"][0], x, y, height) for link, x, y, height in reader.bars("T05")
    ]
    _, x, y, height = max((one for one in named if one[0] == capability), key=lambda one: one[3])
    assert height > 4

    reader.page.mouse.move(x, y)
    reader.page.mouse.click(x, y)

    reader.wait_for_page("/capability", capability=capability, range="14d")
    assert capability in reader.column("T29", "Capability")


@pytest.mark.requirement("T02")
def test_active_workspaces_leads_to_the_workspaces_of_its_seven_days(reader: Reader, today: date):
    reader.open("/?range=30d")

    reader.page.locator("#T02 h2 a").click()
    reader.wait_for_page("/workspace")

    first = today - timedelta(days=6)
    assert reader.query() == {"from": [first.isoformat()], "to": [today.isoformat()]}


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("path", ["/overview", "/audit-overview"])
def test_a_link_from_outside_shows_its_capability_and_days(reader: Reader, today: date, path: str):
    first, last = today - timedelta(days=5), today - timedelta(days=2)
    query = {"capability": "code_review", "from": first.isoformat(), "to": last.isoformat()}

    reader.open(f"{path}?{urlencode(query)}")

    assert reader.path() == "/"
    assert reader.filters("Capability") == "code_review"
    assert reader.page.locator("#date-from").input_value() == first.isoformat()
    assert reader.page.locator("#date-to").input_value() == last.isoformat()
    shown = sum(int(row["interactions"]) for row in rows_of(reader.site, "T05", **query))
    reader.wait_for_bar_sum("T05", shown)
    assert shown > 0


@pytest.mark.requirement("T15", "T16", "T18", "T19", "T20")
def test_workspaces_are_narrowed_by_team_and_by_silence_and_lead_on(reader: Reader):
    reader.open("/workspace")
    reader.choose("Activity", "inactive 7d")
    reader.wait_for_page("/workspace", activity="inactive 7d")

    rows = rows_of(reader.site, "T14", activity="inactive 7d")
    assert {row["activity"] for row in rows} == {"inactive 7d"}
    listed = reader.page.locator("#T14 tbody tr")
    assert listed.count() == min(len(rows), 25)
    opened = listed.first.locator("a", has_text="Open").get_attribute("href")
    assert opened is not None
    assert f"/workspaces/{rows[0]['workspace_id']}" in opened

    reader.open("/workspace")
    erring = {one["workspace_id"] for one in rows_of(reader.site, "T14") if float(one["error_rate"] or 0) > 0.05}
    flagged = reader.page.locator("#T14 tbody tr:has(td.flagged) td:first-child").all_inner_texts()
    unflagged = reader.page.locator("#T14 tbody tr:not(:has(td.flagged)) td:first-child").all_inner_texts()
    assert set(flagged) <= erring
    assert erring.isdisjoint(unflagged)
    row = reader.page.locator("#T14 tbody tr", has_text="ws-").first
    workspace = row.locator("td").first.inner_text()
    row.locator("a", has_text="Raw records").click()
    reader.wait_for_page("/audit-log", workspace=workspace)
    assert set(reader.column("T34", "Workspace")) == {workspace}


@pytest.mark.requirement("T34")
def test_an_anomaly_leads_to_the_raw_logs_of_its_capability_and_day(reader: Reader):
    reader.open("/capability")
    row = reader.page.locator("#T29 tbody tr", has_text="code_review").first
    day = row.locator("td").first.inner_text()

    row.locator("a", has_text="Raw logs").click()
    reader.wait_for_page("/audit-log", **{"capability": "code_review", "from": day, "to": day})

    assert reader.unavailable() == []


@pytest.mark.requirement("R54")
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("capability=no_such_one", "no_such_one"),
        ("from=2024-03-09&to=2024-03-01", "swapped"),
        ("from=9999-01-01", "future"),
        ("from=yesterday&to=%00%ff", "not a day"),
        ("range=1y", "range=1y"),
        (f"capability={'x' * 5000}&provider={'%22' * 1000}", "ignored"),
    ],
)
def test_an_invalid_url_shows_a_notice_and_the_page_is_complete(reader: Reader, query: str, message: str):
    reader.open(f"/?{query}")

    assert message in reader.page.locator(".notices").inner_text()
    assert reader.unavailable() == []
    assert set(reader.tiles()) == {tile.id for tile in PAGES["overview"].tiles}


def test_an_unknown_page_links_back_to_the_overview(reader: Reader):
    reader.page.goto(f"{reader.site}/no-such-page")

    reader.page.get_by_text("Page not found").wait_for()
    reader.page.locator("main").get_by_role("link", name="Overview").click()
    reader.wait_for_page("/")


@pytest.mark.parametrize("tab", TABS)
def test_a_harmful_name_is_shown_as_text_and_does_nothing(reader: Reader, tab: str):
    reader.open(TABS[tab])
    assert MARKUP in reader.page.locator("main").text_content()  # including closed filter lists

    for _, x, y, height in reader.bars("T05") if tab == "overview" else []:
        if height > 4:
            reader.page.mouse.move(x, y)
    for element in reader.page.locator("main td, .js-plotly-plot, details.filter summary").all()[:20]:
        element.hover(force=True)

    assert reader.page.evaluate("window.hacked") is None
    assert reader.page.locator("main img[src='x'], main img[onerror]").count() == 0


@pytest.mark.parametrize("name", [MARKUP, RIGHT_TO_LEFT, QUOTED, FORMULA])
def test_a_harmful_name_can_be_chosen_like_any_other(reader: Reader, name: str):
    reader.open(f"/capability?{urlencode({'capability': name})}")

    assert reader.query()["capability"] == [name]
    assert reader.page.locator(".notices").count() == 0
    assert {row["capability"] for row in rows_of(reader.site, "T29", capability=name)} == {
        name if name != FORMULA else f"'{FORMULA}"
    }
    # The direction override character would disguise a name.
    assert "\u202e" not in reader.page.locator("body").inner_text()
    assert reader.page.evaluate("window.hacked") is None


def test_the_rows_behind_a_tile_show_harmful_names_as_text(reader: Reader):
    reader.page.goto(f"{reader.site}/data/T29")

    assert MARKUP in reader.page.locator("main").inner_text()
    assert LONG[:100] in reader.page.locator("main").inner_text()
    assert reader.page.evaluate("window.hacked") is None
    file = text_of(reader.site, "/data/T29.csv")
    assert f",'{FORMULA}," in file
    assert f",{FORMULA}," not in file
    assert {row["capability"].removeprefix("'") for row in rows_of(reader.site, "T29")} >= {*HARMFUL} - {LONG}


@pytest.mark.requirement("T10")
def test_filters_are_reached_and_set_by_the_keyboard_alone(reader: Reader):
    reader.open("/")
    for _ in range(40):
        reader.page.keyboard.press("Tab")
        if reader.page.evaluate("document.activeElement.matches('details.filter summary')"):
            break
    reader.page.keyboard.press("Enter")
    assert reader.page.locator("details.filter[open]").count() == 1
    reader.page.keyboard.press("Escape")
    assert reader.page.locator("details.filter[open]").count() == 0
    assert reader.page.evaluate("document.activeElement.matches('details.filter summary')")

    reader.page.keyboard.press("Enter")
    for _ in range(40):
        reader.page.keyboard.press("Tab")
        if reader.page.evaluate("document.activeElement.title") == "code_review":
            break
    reader.page.keyboard.press("Enter")
    reader.wait_for_page("/", capability="code_review")

    reader.page.locator(".controls .clear").focus()
    reader.page.keyboard.press("Enter")
    reader.until("location.search === ''")


@pytest.mark.parametrize("tab", TABS)
def test_a_small_screen_shows_every_heading_and_needs_no_scrolling_sideways(browser: Browsing, tab: str):
    with browser.reader(width=1024, height=768) as reader:
        reader.open(TABS[tab])

        wide = "(one) => one.scrollWidth > one.clientWidth + 1"
        assert not reader.page.evaluate(f"({wide})(document.documentElement)")
        assert not reader.page.evaluate(f"({wide})(document.getElementById('right-side') || document.body)")
        clipped = f"all => all.filter({wide}).map((one) => one.innerText)"
        assert reader.page.eval_on_selector_all("section.tile h2, section.tile header", clipped) == []
        outside = "all => all.filter((one) => one.getBoundingClientRect().right > innerWidth).map((one) => one.id)"
        assert reader.page.eval_on_selector_all("section.tile", outside) == []


@pytest.mark.requirement("R52")
def test_screenshots_of_the_tabs_are_complete_and_as_wide_as_requested(shown: Home, tmp_path: Path):
    query = ["--out", str(tmp_path / "pictures"), "--theme", "dark", "--width", "1200"]

    result = subprocess.run(
        [sys.executable, "-m", "audit_assets.cli", *shown.now_option(), "dashboards", "capture", *query],
        env=shown.process_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    for name in ("Overview.png", "Workspace.png", "Capability.png"):
        picture = (tmp_path / "pictures" / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", picture[16:24])
        assert width == 1200
        assert height > 1200  # the window is 1,000 pixels high; a complete page is higher
        assert name in result.stdout


def test_without_chromium_the_error_explains_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ChromiumError, match="apt-get install chromium"):
        find_chromium()


def test_without_playwright_the_error_explains_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)

    with pytest.raises(CaptureError, match=r"pip install 'audit-assets\[capture\]'"), chromium_page("chromium", 1200):
        pass
