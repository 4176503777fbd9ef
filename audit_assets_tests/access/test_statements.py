"""The SQL of access: the exact statements of the shipped files, checked by Google's analyzer."""

from pathlib import Path

import pytest

from audit_assets.access.document import BEGIN, END, MarkersError, page_with_tables
from audit_assets.access.load import load_policy
from audit_assets.access.plan import plan, state_without_access
from audit_assets.access.statements import canonical
from audit_assets.settings import PROJECT_ROOT, read_settings
from audit_assets_tests.access.shipped import DATASETS, altered, known, shipped
from tools.access_gate import statement_problems

pytestmark = pytest.mark.requirement("R60")
GOLDEN = Path(__file__).parent / "golden.sql"


def test_the_shipped_files_lead_to_the_golden_statements():
    """Regenerate with `audit access plan --offline > audit_assets_tests/access/golden.sql`."""
    changes = plan(shipped(), DATASETS, state_without_access(known()), known()).changes
    assert "".join(f"-- {change.summary}\n{change.action.text}\n\n" for change in changes) == GOLDEN.read_text()


def test_google_accepts_every_statement_of_the_shipped_files():
    count, problems = statement_problems(shipped(), DATASETS, known(), read_settings().home / "cache")
    assert count > 90
    assert problems == ()


def test_google_refuses_a_filter_and_an_expression_that_name_no_column(tmp_path: Path):
    altered(
        tmp_path,
        ("rows", "drill_id is null", "drill is null"),
        ("views", "to_hex(sha256(workflow_id))", "to_hex(sha256(workflow))"),
    )
    _, problems = statement_problems(load_policy(tmp_path, known()), DATASETS, known(), read_settings().home / "cache")
    assert len(problems) == 3
    assert "rows.yaml: ai_audit_logs.no_drills: " in problems[0]
    assert "Unrecognized name: drill" in problems[0]
    assert "views.yaml: interactions: " in problems[1]


def test_two_texts_differ_where_what_is_quoted_differs():
    assert canonical("select  A\nfrom t") == canonical("SELECT a FROM T")
    assert canonical("x = 'Live'") != canonical("x = 'live'")


def test_the_pages_tables_are_those_of_the_files():
    page = (PROJECT_ROOT / "docs/access.md").read_text()
    assert page_with_tables(page, shipped(), known()) == page


def test_a_page_without_its_marks_is_not_written_over():
    with pytest.raises(MarkersError, match="put it back"):
        page_with_tables(f"{BEGIN}\n", shipped(), known())
    with pytest.raises(MarkersError, match="put it back"):
        page_with_tables(f"{END}\n", shipped(), known())
