"""The SQL of access: what is shipped, word for word, and Google's analyzer over all of it."""

from pathlib import Path

import pytest

from audit_assets.access.analysis import refused_statements
from audit_assets.access.document import BEGIN, END, MarksError, page_with_tables
from audit_assets.access.load import load_policy
from audit_assets.access.plan import plan
from audit_assets.access.state import nothing_there
from audit_assets.access.statements import canonical
from audit_assets.settings import PROJECT_ROOT, read_settings
from audit_assets_tests.access.shipped import PLACE, altered, known, shipped

pytestmark = pytest.mark.requirement("R60")
GOLDEN = Path(__file__).parent / "golden.sql"


def test_the_shipped_files_lead_to_the_golden_statements():
    """Written anew by `audit access plan --offline > audit_assets_tests/access/golden.sql`."""
    changes = plan(shipped(), PLACE, nothing_there(known()), known()).changes
    assert "".join(f"-- {change.said}\n{change.action.text}\n\n" for change in changes) == GOLDEN.read_text()


def test_google_takes_every_statement_of_the_shipped_files():
    count, refused = refused_statements(shipped(), PLACE, known(), read_settings().home / "cache")
    assert count > 90
    assert refused == ()


def test_google_refuses_a_filter_and_an_expression_that_name_no_column(tmp_path: Path):
    altered(
        tmp_path,
        ("rows", "drill_id is null", "drill is null"),
        ("views", "to_hex(sha256(workflow_id))", "to_hex(sha256(workflow))"),
    )
    _, refused = refused_statements(load_policy(tmp_path, known()), PLACE, known(), read_settings().home / "cache")
    assert len(refused) == 3
    assert "rows.yaml: ai_audit_logs.no_drills: " in refused[0]
    assert "Unrecognized name: drill" in refused[0]
    assert "views.yaml: interactions: " in refused[1]


def test_two_texts_differ_where_what_is_quoted_differs():
    assert canonical("select  A\nfrom t") == canonical("SELECT a FROM T")
    assert canonical("x = 'Live'") != canonical("x = 'live'")


def test_the_pages_tables_are_those_of_the_files():
    page = (PROJECT_ROOT / "docs/access.md").read_text()
    assert page_with_tables(page, shipped(), known()) == page


def test_a_page_without_its_marks_is_not_written_over():
    with pytest.raises(MarksError, match="put it back"):
        page_with_tables(f"{BEGIN}\n", shipped(), known())
    with pytest.raises(MarksError, match="put it back"):
        page_with_tables(f"{END}\n", shipped(), known())
