"""A plan against what is there: complete at first, empty after, and what it takes back."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit_assets.access.applying import ApplyError, apply
from audit_assets.access.changes import Change, Statement
from audit_assets.access.load import load_policy
from audit_assets.access.model import Policy
from audit_assets.access.plan import Plan, plan
from audit_assets.access.state import nothing_there, read_state
from audit_assets.warehouse.access import DatasetAccess, RowPolicyThere, TagThere
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets_tests.access.paper_plane import PaperPlane
from audit_assets_tests.access.shipped import PLACE, altered, known, shipped

pytestmark = pytest.mark.requirement("R60")
NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)
SRE, PRODUCT = "group:ai-audit-sre@example.com", "group:ai-audit-product@example.com"
PIPELINE = "serviceAccount:ai-audit-pipeline@example-project.iam.gserviceaccount.com"


@pytest.fixture
def plane() -> PaperPlane:
    """A warehouse with all its tables, which nobody may read yet."""
    return PaperPlane(known().tables)


def planned(plane: PaperPlane, policy: Policy | None = None) -> Plan:
    policy = policy or shipped()
    return plan(policy, PLACE, read_state(plane, policy, PLACE, known()), known())


def applied(plane: PaperPlane, policy: Policy | None = None) -> list[dict[str, object]]:
    return [dict(record) for record in apply(planned(plane, policy), plane, lambda: NOON)]


def said(found: Plan) -> list[str]:
    return [change.said for change in found.changes]


def test_what_is_applied_needs_nothing_more(plane: PaperPlane):
    records = applied(plane)
    assert planned(plane) == Plan((), (), ())
    assert len(records) > 30
    assert records[0]["event"] == "access"
    assert records[0]["at"] == NOON


def test_a_review_without_a_connection_holds_every_statement_that_is_applied(plane: PaperPlane):
    offline = plan(shipped(), PLACE, nothing_there(known()), known())
    applied(plane)
    assert [change.action.sql for change in offline.changes if isinstance(change.action, Statement)] == plane.done


def test_nobody_gains_before_rows_and_columns_are_narrowed_and_the_writer_is_never_shut_out(plane: PaperPlane):
    changes = planned(plane).changes
    first_gain = next(n for n, change in enumerate(changes) if change.effect == "opens" and " read " in change.said)
    narrowing = [n for n, change in enumerate(changes) if change.effect == "narrows"]
    assert max(narrowing) < first_gain
    policies = [change.action.sql for change in changes if _is_row_policy(change)]
    assert PIPELINE in policies[0]
    assert "filter using (true)" in policies[0]


def test_more_than_the_files_give_is_taken_back(plane: PaperPlane):
    applied(plane)
    plane.held["analytics", "ai_audit_logs"].add(PRODUCT)
    plane.change_dataset("analytics", DatasetAccess(frozenset({SRE, "projectReaders"})), DatasetAccess())
    found = planned(plane)
    assert said(found) == [
        f"sre ({SRE}), projectReaders no longer read all of analytics",
        f"product-analytics ({PRODUCT}) no longer read analytics.ai_audit_logs",
    ]
    assert {change.effect for change in found.changes} == {"narrows"}
    applied(plane)
    assert planned(plane).changes == ()


def test_less_than_the_files_give_is_given_again(plane: PaperPlane):
    applied(plane)
    plane.held["analytics", "ai_audit_daily"].remove(SRE)  # as where dbt drops a table and makes it again
    assert said(planned(plane)) == [f"sre ({SRE}) read analytics.ai_audit_daily"]


def test_what_others_hold_is_said_and_left_alone(plane: PaperPlane):
    applied(plane)
    plane.held["analytics", "ai_audit_daily"].add("user:someone@elsewhere.test")
    everybody = DatasetAccess(frozenset({"allAuthenticatedUsers"}), frozenset({("finance", "costs")}))
    plane.change_dataset("analytics", everybody, DatasetAccess())
    plane.rows["ai_audit_rejects"] = {"theirs": RowPolicyThere("true", frozenset({SRE}))}
    plane.texts["of_old"] = "select 1"
    found = planned(plane)
    assert found.changes == ()
    assert found.left_alone == (
        "allAuthenticatedUsers reads all of analytics and is not in groups.yaml: that is more people than any group of "
        "it; put it under `former` to have it taken back",
        "user:someone@elsewhere.test reads analytics.ai_audit_daily and is not in groups.yaml",
        "the view finance.costs may read analytics and is not of views.yaml",
        "the view analytics_views.of_old is of no file any more and reads nothing; drop it",
        "the row policy theirs of analytics.ai_audit_rejects is not of rows.yaml",
    )


def test_a_policy_by_hand_on_a_table_of_ours_is_dropped(plane: PaperPlane):
    applied(plane)
    plane.rows["ai_audit_logs"]["all_of_it"] = RowPolicyThere("true", frozenset({PRODUCT}))
    assert said(planned(plane)) == [
        f"product-analytics ({PRODUCT}) no longer see rows of analytics.ai_audit_logs where true"
    ]
    applied(plane)
    assert planned(plane).changes == ()


def test_a_policy_that_was_changed_by_hand_is_put_right_in_one_statement(plane: PaperPlane):
    applied(plane)
    wider = RowPolicyThere("TRUE", frozenset({PRODUCT, "user:someone@elsewhere.test"}))
    plane.rows["ai_audit_logs"]["ai_audit_no_drills"] = wider
    (change,) = planned(plane).changes
    assert change.said == (
        "the policy no_drills of analytics.ai_audit_logs shows rows where drill_id is null; "
        "no longer those where TRUE; user:someone@elsewhere.test lose it"
    )
    assert change.effect == "narrows"


def test_spaces_and_case_outside_quotes_are_no_change(plane: PaperPlane):
    applied(plane)
    there = plane.rows["ai_audit_logs"]["ai_audit_no_drills"]
    plane.rows["ai_audit_logs"]["ai_audit_no_drills"] = RowPolicyThere("drill_id  IS\nNULL", there.principals)
    plane.texts["workspaces"] = " ".join(plane.texts["workspaces"].upper().split()).replace(
        "MAD-VIBE-PROD.ANALYTICS.AI_AUDIT_WORKSPACES", "mad-vibe-prod.analytics.ai_audit_workspaces"
    )
    assert planned(plane).changes == ()


def test_the_last_policies_of_a_table_go_at_once_and_the_plan_says_what_that_opens(plane: PaperPlane, tmp_path: Path):
    applied(plane)
    rows = tmp_path / "rows.yaml"
    altered(tmp_path)
    rows.write_text("tables: {}\n")
    without = load_policy(tmp_path, known())
    (change,) = planned(plane, without).changes
    assert change.said == "analytics.ai_audit_logs has no row policies any more: its readers see every row"
    assert change.effect == "opens"
    assert isinstance(change.action, Statement)
    assert change.action.sql.startswith("drop all row access policies")
    applied(plane, without)
    assert planned(plane, without).changes == ()


def test_a_view_that_leaves_the_files_is_let_in_no_more(plane: PaperPlane, tmp_path: Path):
    applied(plane)
    altered(
        tmp_path,
        ("grants", "[interactions, workspaces]", "[interactions]"),
        ("views", "  workspaces:\n", "  other:\n"),
    )
    changed = load_policy(tmp_path, known())
    found = planned(plane, changed)
    assert "workspaces no longer read analytics for others" in said(found)
    assert f"product-analytics ({PRODUCT}) no longer read analytics_views.workspaces" in said(found)
    applied(plane, changed)
    assert planned(plane, changed).changes == ()


def test_a_tag_that_was_widened_is_narrowed_and_a_column_that_lost_its_tag_has_it_again(plane: PaperPlane):
    applied(plane)
    there = plane.tag_states["person"]
    plane.tag_states["person"] = TagThere(there.raw | {PRODUCT}, "ALWAYS_NULL", there.masked)
    del plane.tagged["ai_audit_workspaces"]["owner"]  # as after an overwrite
    plane.tagged["ai_audit_logs"]["status"] = "evidence"
    assert said(planned(plane)) == [
        f"pipeline, compliance, dashboards see the columns tagged person; no longer product-analytics ({PRODUCT})",
        "sre see them masked (SHA256)",
        "status have no tag any more: whoever reads the table sees them",
        "owner is tagged person",
    ]
    applied(plane)
    assert planned(plane).changes == ()


def test_the_tag_of_another_taxonomy_gives_way_only_where_ours_is_wanted(plane: PaperPlane):
    applied(plane)
    plane.tagged["ai_audit_logs"] |= {"status": "projects/p/other", "snapshot_id": "projects/p/other"}
    assert said(planned(plane)) == ["snapshot_id is tagged evidence"]


def test_tables_that_are_not_there_yet_wait_and_say_for_what(plane: PaperPlane):
    for table in ("ai_audit_workspaces", "ai_audit_daily"):
        del plane.held["analytics", table]
    found = planned(plane)
    assert found.waiting == (
        "analytics.ai_audit_daily is not there yet; run `audit build`, then plan again",
        "analytics.ai_audit_workspaces is not there yet; run `audit sync`, then plan again",
    )
    applied(plane)
    assert planned(plane).changes == ()


def test_a_warehouse_that_is_not_there_is_said_with_its_mend(plane: PaperPlane):
    plane.datasets.clear()
    with pytest.raises(WarehouseError, match=r"mad-vibe-prod\.analytics is not there; run `audit sync --dest"):
        planned(plane)


def test_a_refused_change_ends_it_and_a_second_run_goes_on(plane: PaperPlane):
    plane.refuses = "ai_audit_no_drills"
    with pytest.raises(
        ApplyError, match=r"change 2 of \d+ .*rowAccessPolicies.create denied.*those before it are done"
    ):
        applied(plane)
    assert len(plane.done) == 1
    plane.refuses = "nothing at all"
    applied(plane)
    assert planned(plane).changes == ()


def _is_row_policy(change: Change) -> bool:
    return isinstance(change.action, Statement) and "row access policy" in change.action.sql
