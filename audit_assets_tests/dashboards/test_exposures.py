"""The dbt exposures list what the dashboard pages read, and the generated documentation is up to date."""

import pytest
import yaml

from audit_assets.dashboards.definition.load import TABS, document, load_definition
from audit_assets.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "observability/dashboards/ai-audit"
MODELS = {path.stem for path in (PROJECT_ROOT / "dbt/models").rglob("*.sql")}


@pytest.mark.requirement("R27", "R51")
@pytest.mark.parametrize("tab", TABS)
def test_an_exposure_names_every_model_that_its_page_reads(tab: str):
    definition = load_definition(FOLDER)
    page = definition.page(tab)
    assert page is not None
    named = {tile.source for tile in page.tiles} | {tile.spark.source for tile in page.tiles if tile.spark}
    if any(tile.incidents for tile in page.tiles):
        named.add("incidents")
    read = {table for name in named for table in definition.source(name).reads} & MODELS
    exposures = yaml.safe_load((PROJECT_ROOT / "dbt/models/marts/exposures.yml").read_text())["exposures"]
    (mine,) = [one for one in exposures if one["name"] == tab]
    depends = {text.split("'")[1] for text in mine["depends_on"] if text.startswith("ref(")}
    assert depends == read


def test_the_committed_dashboard_documentation_is_up_to_date():
    written = (PROJECT_ROOT / "docs/ai-audit-dashboards.md").read_text()
    assert written == document(load_definition(FOLDER)), "run `audit dashboards generate`"
