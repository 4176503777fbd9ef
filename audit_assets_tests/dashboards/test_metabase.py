"""The Metabase export is generated from the pages, and errors in it are found without Metabase or BigQuery."""

import re
from pathlib import Path

import pytest
import yaml

from audit_assets.bi_export.metabase import entity_id, metabase_files
from audit_assets.dashboards.definition.load import TABS, load_definition
from audit_assets_tests.dashboards.planted import COLLECTION, SHIPPED, Copy, copied
from tools.bi_check.metabase_export import INSTALL, SubstitutionError, schema_problems, substitute, validator

pytestmark = pytest.mark.requirement("R51")
VOLUME = f"{COLLECTION}/overview/t08_daily_volume.yaml"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return copied(tmp_path / "ai-audit")


@pytest.mark.parametrize("page", TABS)
def test_every_tile_has_a_card_on_its_dashboard(page: str):
    dashboard = yaml.safe_load((SHIPPED / COLLECTION / f"{page}.yaml").read_text())
    cards = [yaml.safe_load(path.read_text()) for path in (SHIPPED / COLLECTION / page).glob("*.yaml")]
    titles = {card["entity_id"]: card["name"] for card in cards}
    tiles = load_definition(SHIPPED).page(page).tiles  # type: ignore[union-attr]
    assert [titles[dashcard["card_id"]] for dashcard in dashboard["dashcards"]] == [tile.title for tile in tiles]


def test_entity_ids_have_metabases_format_and_are_deterministic():
    assert re.fullmatch(r"[A-Za-z0-9_-]{21}", entity_id("card", "T01"))
    assert entity_id("card", "T01") != entity_id("card", "T02")
    definition = load_definition(SHIPPED)
    assert metabase_files(definition) == metabase_files(definition)


def test_all_entities_are_in_one_collection_and_use_one_connection():
    entities = [yaml.safe_load(path.read_text()) for path in (SHIPPED / "metabase").rglob("*.yaml")]
    (collection,) = [each for each in entities if each["serdes/meta"][-1]["model"] == "Collection"]
    assert collection["name"] == "AI Copilot / Observability"
    entities_in_collection = [each for each in entities if each["serdes/meta"][-1]["model"] in ("Card", "Dashboard")]
    assert {each["collection_id"] for each in entities_in_collection} == {collection["entity_id"]}
    assert {each["dataset_query"]["database"] for each in entities_in_collection if "dataset_query" in each} == {
        "mad-vibe-prod.analytics"
    }


def test_a_filter_without_a_value_is_left_out_and_one_with_a_value_is_quoted():
    sql = "select 1 from t where d >= coalesce([[cast({{from}} as date), ]]current_date()) [[and c = {{c}}]]"
    assert substitute(sql, {}) == "select 1 from t where d >= coalesce(current_date()) "
    assert substitute(sql, {"c": "it's"}).endswith(r"and c = 'it\'s'")
    with pytest.raises(SubstitutionError, match="has no value"):
        substitute("select {{c}}", {})


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        pytest.param(
            VOLUME,
            "sum(interaction_count)",
            "sum(interactions_count)",
            (f"{VOLUME}:", "native: BigQuery would reject it: ", "interactions_count"),
            id="a column missing in the mart",
        ),
        pytest.param(
            VOLUME,
            "  - active_workspaces",
            "  - active_workspace",
            (
                f"{VOLUME}:",
                "graph.metrics: active_workspace: not a column of its query; did you mean active_workspaces?",
            ),
            id="a drawn column missing in the query",
        ),
        pytest.param(
            VOLUME,
            f"entity_id: {entity_id('card', 'T08')}",
            f"entity_id: {entity_id('card', 'T07')}",
            (f"{VOLUME}:", "is already the id of ", "ids must be unique"),
            id="duplicate id",
        ),
        pytest.param(VOLUME, "type: question", "type: question: no", (f"{VOLUME}:", "is not YAML"), id="invalid YAML"),
        pytest.param(
            VOLUME,
            "display: line\n",
            "",
            (f"{VOLUME}:", "display: is missing; a card needs one"),
            id="missing key",
        ),
        pytest.param(
            VOLUME,
            f"collection_id: {entity_id('collection')}",
            f"collection_id: {entity_id('elsewhere')}",
            (f"{VOLUME}:", "no such collection"),
            id="unknown collection",
        ),
        pytest.param(
            VOLUME,
            "{{capability}}",
            "{{capabilities}}",
            (f"{VOLUME}:", "template-tags: capabilities: is used in the SQL but not declared"),
            id="undeclared tag",
        ),
        pytest.param(
            VOLUME,
            "database: mad-vibe-prod.analytics",
            "database: elsewhere",
            (f"{VOLUME}:", "database: elsewhere: no such database"),
            id="unknown database",
        ),
        pytest.param(
            f"{COLLECTION}/overview.yaml",
            f"card_id: {entity_id('card', 'T08')}",
            f"card_id: {entity_id('card', 'none')}",
            (f"{COLLECTION}/overview.yaml:", "no such card"),
            id="unknown card",
        ),
        pytest.param(
            f"{COLLECTION}/overview.yaml",
            "col: 6",
            "col: 5",
            (f"{COLLECTION}/overview.yaml:", "Active Workspaces (7d) overlaps Total Interactions (24h)"),
            id="overlapping cards",
        ),
    ],
)
def test_an_error_in_a_file_is_found_with_its_file_and_place(
    copy: Copy, file: str, old: str, new: str, expected: tuple[str, ...]
):
    copy.plant(file, old, new)
    found = copy.problems()
    assert any(line.startswith(expected[0]) and all(part in line for part in expected[1:]) for line in found), found


def test_a_tile_without_a_card_is_reported(copy: Copy):
    (copy.folder / VOLUME).unlink()
    assert "metabase/collections:1: T08: no card shows this tile; run `audit dashboards generate`" in copy.problems()


@pytest.mark.skipif(validator() is None, reason=f"Metabase's validator is not installed: {INSTALL}")
def test_metabases_schema_accepts_the_export_and_rejects_an_invalid_value(copy: Copy):
    assert schema_problems(copy.folder / "metabase") == []
    copy.plant(VOLUME, "display: line", "display: lines")
    (problem,) = schema_problems(copy.folder / "metabase")
    assert (problem.file, problem.field) == (VOLUME.removeprefix("metabase/"), "/display")
