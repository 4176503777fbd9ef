"""The Looker project is generated from the pages, and errors in it are found without Looker or BigQuery."""

from pathlib import Path

import pytest
import yaml

from audit_assets.bi_export.files import diff_files, generated_files, write
from audit_assets.dashboards.definition.load import TABS, load_definition
from audit_assets_tests.dashboards.planted import SHIPPED, Copy, copied

pytestmark = pytest.mark.requirement("R51")
CAPABILITY = "looker/dashboards/capability.dashboard.lookml"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return copied(tmp_path / "ai-audit")


def elements(page: str) -> list[dict[str, object]]:
    (dashboard,) = yaml.safe_load((SHIPPED / f"looker/dashboards/{page}.dashboard.lookml").read_text())
    return dashboard["elements"]


def test_the_committed_files_are_as_generated():
    assert diff_files(SHIPPED, generated_files(load_definition(SHIPPED))) == []


def test_the_committed_files_pass_both_engines(copy: Copy):
    assert copy.problems() == []


@pytest.mark.parametrize("page", TABS)
def test_every_tile_has_an_element_with_its_title_and_note(page: str):
    tiles = {tile.id: (tile.title, tile.help) for tile in load_definition(SHIPPED).page(page).tiles}  # type: ignore[union-attr]
    shown = {each["name"]: (each["title"], each["note_text"]) for each in elements(page)}
    assert shown == tiles


@pytest.mark.parametrize("page", TABS)
def test_a_dashboard_shows_seven_days_by_default(page: str):
    (dashboard,) = yaml.safe_load((SHIPPED / f"looker/dashboards/{page}.dashboard.lookml").read_text())
    assert dashboard["title"].startswith("AI Copilot / Observability: ")
    dates = [each for each in dashboard["filters"] if each["type"] == "date_filter"]
    assert [each["default_value"] for each in dates] == ["7 days"]
    # Only Freshness has no range.
    assert [each["name"] for each in dashboard["elements"] if "Date" not in each.get("listen", {})] == (
        ["T22"] if page == "workspace" else []
    )


def test_a_changed_page_makes_the_generated_files_stale(copy: Copy):
    copy.plant("vizro/overview.yaml", "title: Provider mix", "title: Who answered")
    changes = diff_files(copy.folder, generated_files(copy.definition))
    assert {change.file.split("/")[0] for change in changes} == {"looker", "metabase"}
    assert "is out of date; run `audit dashboards generate`" in str(
        next(change for change in changes if change.file == "looker/dashboards/overview.dashboard.lookml")
    )
    write(copy.folder, generated_files(copy.definition))
    assert diff_files(copy.folder, generated_files(copy.definition)) == []


def test_a_file_that_is_no_longer_generated_is_reported_and_removed(copy: Copy):
    (copy.folder / "looker/views/old.view.lkml").write_text("view: old {}\n")
    files = generated_files(copy.definition)
    assert [str(change) for change in diff_files(copy.folder, files)] == [
        "looker/views/old.view.lkml: is no longer generated; run `audit dashboards generate`"
    ]
    write(copy.folder, files)
    assert not (copy.folder / "looker/views/old.view.lkml").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        pytest.param(
            "looker/views/daily.view.lkml",
            "sum(success_count) ;;",
            "sum(succes_count) ;;",
            ("looker/views/daily.view.lkml:", "Unrecognized name: succes_count"),
            id="a column missing in the mart",
        ),
        pytest.param(
            "looker/views/workspaces.view.lkml",
            "max(last_interaction_at)",
            "max(last_interaction)",
            ("looker/views/workspaces.view.lkml:", "Unrecognized name: last_interaction"),
            id="a column missing in the table of a query",
        ),
        pytest.param(
            "looker/views/daily.view.lkml",
            "ai_audit_daily",
            "ai_audit_dayly",
            (
                "looker/views/daily.view.lkml:3: view: daily: ",
                "Table not found: `mad-vibe-prod.analytics.ai_audit_dayly`",
            ),
            id="unknown table",
        ),
        pytest.param(
            CAPABILITY,
            "- volume.mean_7d_figure",
            "- volume.mean_7d_figur",
            (f"{CAPABILITY}:", "name: T30: volume.mean_7d_figur: no such field; did you mean volume.mean_7d_figure?"),
            id="a field missing in the view",
        ),
        pytest.param(
            CAPABILITY,
            "explore: volume",
            "explore: volumes",
            (f"{CAPABILITY}:", "name: T30: explore volumes: no such explore; did you mean volume?"),
            id="unknown explore",
        ),
        pytest.param(
            CAPABILITY,
            "Date: volume.range",
            "Dates: volume.range",
            (f"{CAPABILITY}:", "name: T30: listen: Dates is not a filter of the dashboard; did you mean Date?"),
            id="a filter missing in the dashboard",
        ),
        pytest.param(
            CAPABILITY,
            "    listen:",
            "    listens:",
            (f"{CAPABILITY}:", "name: T24: listens: no such parameter here; did you mean listen?"),
            id="unknown parameter of an element",
        ),
        pytest.param(
            CAPABILITY,
            "anomalies.window: d2",
            "anomalies.window: d3",
            (f"{CAPABILITY}:", "name: T25: anomalies.window: d3 is not one of d14, d2, range"),
            id="a window that the parameter does not allow",
        ),
        pytest.param(
            CAPABILITY,
            "  layout: newspaper",
            " layout: newspaper",
            (f"{CAPABILITY}:", "is not YAML"),
            id="invalid YAML",
        ),
        pytest.param(
            "looker/views/daily.view.lkml",
            'label: "Day"',
            'label: "Day',
            ("looker/views/daily.view.lkml:", "is not valid LookML"),
            id="invalid LookML",
        ),
        pytest.param(
            "looker/views/latency_by_day.view.lkml",
            "{% date_start latency_by_day.range %}",
            "{% date_start latency_by_day.rang %}",
            (
                "looker/views/latency_by_day.view.lkml:",
                "latency_by_day.rang: no such filter or dimension; did you mean range?",
            ),
            id="unknown field in a template",
        ),
        pytest.param(
            "looker/views/daily.view.lkml",
            'label: "Day"',
            'lable: "Day"',
            ("looker/views/daily.view.lkml:", "dimension: date: lable: no such parameter here; did you mean label?"),
            id="unknown parameter of LookML",
        ),
        pytest.param(
            "looker/explores/ai_audit.explore.lkml",
            "sql_always_where: date between",
            "# sql_always_where: date between",
            ("looker/explores/ai_audit.explore.lkml:", "explore: provider_days: has no time range"),
            id="a statement without a time range",
        ),
    ],
)
def test_an_error_in_a_file_is_found_with_its_file_and_place(
    copy: Copy, file: str, old: str, new: str, expected: tuple[str, str]
):
    copy.plant(file, old, new)
    start, holds = expected
    assert any(line.startswith(start) and holds in line for line in copy.problems()), copy.problems()


def test_a_tile_without_an_element_is_reported(copy: Copy):
    path = copy.folder / "looker/dashboards/workspace.dashboard.lookml"
    (dashboard,) = yaml.safe_load(path.read_text())
    dashboard["elements"] = [each for each in dashboard["elements"] if each["name"] != "T21"]
    path.write_text(yaml.safe_dump([dashboard]))
    assert copy.problems() == ["looker/dashboards:1: T21: no element shows this tile; run `audit dashboards generate`"]
