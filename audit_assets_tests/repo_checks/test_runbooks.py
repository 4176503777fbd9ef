"""Consistency of rules, columns, runbooks and documents: every rule has a complete section, and its queries run."""

import re

import duckdb
import pytest

from audit_assets.rules.expression import compile_condition
from audit_assets.rules.load import runbook_anchors
from audit_assets.rules.model import Rule
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.snapshot import open_snapshot
from audit_assets_tests.environments import Home
from audit_assets_tests.rules.factories import shipped_rules

pytestmark = pytest.mark.requirement("R37", "R70")

PAGE = (PROJECT_ROOT / "docs/INGESTION_WORKFLOW.md").read_text()
RULES = shipped_rules().rules
PARTS = ("**Meaning.**", "**Impact.**", "**Diagnosis.**", "**Mitigation.**")


def section(rule: Rule) -> str:
    found = re.search(rf"^### {rule.runbook}$(.*?)(?=^### |^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def queries(rule: Rule) -> list[str]:
    """The SQL in a rule's section that reads the warehouse's tables, without queries of the source."""
    blocks = re.findall(r"```sql\n(.*?)```", section(rule), re.DOTALL)
    statements = [part.strip() for block in blocks for part in block.split(";") if part.strip()]
    return [statement for statement in statements if not re.search(r"\bpg_(stat|last)_", statement)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rules_section_has_meaning_impact_diagnosis_and_mitigation(rule: Rule):
    text = section(rule)
    places = [text.find(part) for part in PARTS]
    assert -1 not in places
    assert places == sorted(places)
    assert "```sql" in text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rules_section_names_every_column_its_condition_reads(rule: Rule):
    texts = [rule.fires_when, *rule.gates.values()]
    columns = {name for text in texts for name in compile_condition(text, rule.watch).columns}
    assert {name for name in columns if name not in section(rule)} == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_query_of_a_runbook_runs_on_the_snapshot(built_home: Home, rule: Rule):
    with open_snapshot(built_home.settings().snapshot_folder) as connection:
        for statement in queries(rule):
            try:
                connection.execute(statement).fetchall()
            except duckdb.Error as error:
                pytest.fail(f"{rule.id}: {str(error).splitlines()[0]}\n{statement}")


def test_the_anchors_the_playbook_names_are_there():
    for heading in ("## Incident response", "## AI audit incidents"):
        assert f"\n{heading}\n" in PAGE


def test_every_link_of_the_documents_leads_to_a_file_and_a_heading():
    broken: list[str] = []
    for page in [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            name, _, anchor = target.partition("#")
            if "://" in target:
                continue
            path = (page.parent / name).resolve() if name else page
            if not path.exists() or (anchor and anchor not in runbook_anchors(path.read_text())):
                broken.append(f"{page.name}: {target}")
    assert broken == []
