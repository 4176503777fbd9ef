"""The dashboards' YAML: problems are reported with file, line, field and fix."""

from __future__ import annotations

import pytest

from audit_assets.dashboards.definition.load import load_definition
from audit_assets_tests.dashboards.shipped import SHIPPED, Copy

TILES_OF_THE_PLAYBOOK = {f"T{number:02}" for number in range(1, 35)} - {"T10", "T15", "T16", "T18", "T19", "T20"}


def test_the_shipped_pages_contain_every_tile_of_the_playbook():
    definition = load_definition(SHIPPED)

    assert {tile.id for _, tile in definition.tiles} >= TILES_OF_THE_PLAYBOOK
    assert [page.page for page in definition.pages[:3]] == ["overview", "workspace", "capability"]


@pytest.mark.parametrize(
    ("file", "old", "new", "field", "fix"),
    [
        ("overview.yaml", "title: Provider mix", "titel: Provider mix", "titel", "did you mean title?"),
        ("overview.yaml", "source: latency_by_provider", "source: latency_by_provder", "source",
         "did you mean latency_by_provider?"),
        ("overview.yaml", "measures: [error_rate]", "measures: [eror_rate]", "measures", "did you mean error_rate?"),
        ("overview.yaml", "show: donut", "show: donat", "show", "did you mean donut?"),
        ("workspace.yaml", "order: last_interaction_at", "order: last_interaction", "order",
         "did you mean last_interaction_at?"),
        ("capability.yaml", "column: deviation_state", "column: deviation", "highlight.column",
         "not a column of the tile"),
        ("capability.yaml", "id: T27", "id: T30", "id",
         "T30 is already the id of “Volume against its expected range”; choose another"),
        ("capability.yaml", "page: capability", "page: capabilities", "page", "use the same name for both"),
    ],
)  # fmt: skip
def test_a_misspelled_name_in_a_page_is_reported_with_file_line_field_and_fix(
    shipped: Copy, file: str, old: str, new: str, field: str, fix: str
):
    line = shipped.change(f"vizro/{file}", old, new)

    message = shipped.error_message().splitlines()

    assert len(message) == 1
    assert message[0].startswith(f"{file}:{line}: ")
    assert f"{field}: " in message[0]
    assert message[0].endswith(fix)


def test_a_row_whose_widths_do_not_sum_to_twelve_is_reported_with_its_width(shipped: Copy):
    line = shipped.change("vizro/overview.yaml", "width: 8", "width: 9")

    message = shipped.error_message()

    assert message.endswith("is 13 columns wide; widths must sum to 12")
    assert message.startswith("overview.yaml:")
    assert 0 < int(message.split(":")[1]) <= line


def test_a_misspelled_field_of_a_source_is_reported_with_its_line(shipped: Copy):
    line = shipped.change("metrics.yaml", "unit: count, title: Interactions", "unti: count, title: Interactions")

    message = shipped.error_message()

    assert message.startswith(f"metrics.yaml:{line}: sources.interactions.measures.interactions.unti: ")
    assert "did you mean unit?" in message


def test_a_source_with_both_table_and_sql_is_rejected(shipped: Copy):
    shipped.change("metrics.yaml", "    table: ai_audit_daily\n", "    table: ai_audit_daily\n    sql: select 1\n")

    assert shipped.error_message().endswith("sources.provider_days: set exactly one of table and sql")


def test_all_problems_of_the_pages_are_reported_together(shipped: Copy):
    shipped.change("vizro/overview.yaml", "source: coverage", "source: covrage")
    shipped.change("vizro/workspace.yaml", "width: 6", "width: 5")

    message = shipped.error_message().splitlines()

    assert [line.split(":")[0] for line in message] == ["overview.yaml", "workspace.yaml"]


def test_a_missing_page_is_reported_with_the_setting_that_names_the_folder(shipped: Copy):
    (shipped.folder / "vizro/workspace.yaml").unlink()

    assert "AI_AUDIT_DASHBOARDS" in shipped.error_message()


def test_invalid_yaml_is_reported_with_its_line(shipped: Copy):
    line = shipped.change("vizro/capability.yaml", "title: Capability\n", "title: [Capability\n")

    message = shipped.error_message()

    assert message.startswith("capability.yaml:")
    assert line <= int(message.split(":")[1]) <= line + 2


def test_a_misspelled_field_of_a_tile_gets_a_suggestion_from_the_tile_fields(shipped: Copy):
    shipped.change("vizro/workspace.yaml", "highlight:", "higlight:")

    assert shipped.error_message().endswith("did you mean highlight?")


@pytest.mark.parametrize("file", ["metrics.YAML", "vizro/overview.yml", "vizro/costs.yaml"])
def test_an_unexpected_yaml_file_is_rejected(shipped: Copy, file: str):
    (shipped.folder / file).write_text("{}")
    message = shipped.error_message()
    assert message.startswith(f"{file.rpartition('/')[2]}: is not read; ")
    assert "rename or remove it" in message
