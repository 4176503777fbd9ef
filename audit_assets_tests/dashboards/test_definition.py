"""The dashboards' YAML: what is wrong in it is told with file, line, field and mend."""

from __future__ import annotations

import pytest

from audit_assets.dashboards.load import load_definition
from audit_assets_tests.dashboards.shipped import SHIPPED, Copy

TILES_OF_THE_PLAYBOOK = {f"T{number:02}" for number in range(1, 35)} - {"T10", "T15", "T16", "T18", "T19", "T20"}


def test_the_shipped_pages_hold_every_tile_of_the_playbook_that_is_a_tile():
    definition = load_definition(SHIPPED)

    assert {tile.id for _, tile in definition.tiles} >= TILES_OF_THE_PLAYBOOK
    assert [page.page for page in definition.pages[:3]] == ["overview", "workspace", "capability"]


@pytest.mark.parametrize(
    ("file", "old", "new", "field", "mend"),
    [
        ("overview.yaml", "title: Provider mix", "titel: Provider mix", "titel", "did you mean title?"),
        ("overview.yaml", "source: latency_by_provider", "source: latency_by_provder", "source",
         "did you mean latency_by_provider?"),
        ("overview.yaml", "measures: [error_rate]", "measures: [eror_rate]", "measures", "did you mean error_rate?"),
        ("overview.yaml", "show: donut", "show: donat", "show", "did you mean donut?"),
        ("workspace.yaml", "order: last_interaction_at", "order: last_interaction", "order",
         "did you mean last_interaction_at?"),
        ("capability.yaml", "column: deviation_state", "column: deviation", "highlight.column",
         "none of the tile's columns"),
        ("capability.yaml", "id: T27", "id: T30", "id", "T30 is “Volume against its expected range” already"),
        ("capability.yaml", "page: capability", "page: capabilities", "page", "give both one name"),
    ],
)  # fmt: skip
def test_a_misspelt_word_of_a_page_is_told_with_file_line_field_and_mend(
    shipped: Copy, file: str, old: str, new: str, field: str, mend: str
):
    line = shipped.change(f"vizro/{file}", old, new)

    told = shipped.refusal().splitlines()

    assert len(told) == 1
    assert told[0].startswith(f"{file}:{line}: ")
    assert f"{field}: " in told[0]
    assert told[0].endswith(mend)


def test_a_row_whose_widths_do_not_sum_to_twelve_is_told_with_its_width(shipped: Copy):
    line = shipped.change("vizro/overview.yaml", "width: 8", "width: 9")

    told = shipped.refusal()

    assert told.endswith("is 13 columns wide; widths sum to 12")
    assert told.startswith("overview.yaml:")
    assert 0 < int(told.split(":")[1]) <= line


def test_a_misspelt_field_of_a_source_is_told_with_its_line(shipped: Copy):
    line = shipped.change("metrics.yaml", "unit: count, title: Interactions", "unti: count, title: Interactions")

    told = shipped.refusal()

    assert told.startswith(f"metrics.yaml:{line}: sources.interactions.measures.interactions.unti: ")
    assert "did you mean unit?" in told


def test_a_source_of_both_table_and_query_is_refused(shipped: Copy):
    shipped.change("metrics.yaml", "    table: ai_audit_daily\n", "    table: ai_audit_daily\n    sql: select 1\n")

    assert shipped.refusal().endswith("sources.daily: name a table or write sql, one of them")


def test_all_that_is_wrong_in_the_pages_is_told_at_once(shipped: Copy):
    shipped.change("vizro/overview.yaml", "source: coverage", "source: covrage")
    shipped.change("vizro/workspace.yaml", "width: 6", "width: 5")

    told = shipped.refusal().splitlines()

    assert [line.split(":")[0] for line in told] == ["overview.yaml", "workspace.yaml"]


def test_a_page_that_is_not_there_says_which_setting_names_the_folder(shipped: Copy):
    (shipped.folder / "vizro/workspace.yaml").unlink()

    assert "AI_AUDIT_DASHBOARDS" in shipped.refusal()


def test_what_is_no_yaml_is_told_with_its_line(shipped: Copy):
    line = shipped.change("vizro/capability.yaml", "title: Capability\n", "title: [Capability\n")

    told = shipped.refusal()

    assert told.startswith("capability.yaml:")
    assert line <= int(told.split(":")[1]) <= line + 2


def test_a_misspelt_field_of_a_tile_is_compared_with_those_of_tiles(shipped: Copy):
    shipped.change("vizro/workspace.yaml", "highlight:", "higlight:")

    assert shipped.refusal().endswith("did you mean highlight?")
