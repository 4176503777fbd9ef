"""A plan against the current state: complete at first, empty after it is applied, and what it revokes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit_assets.access.apply import ApplyError, apply
from audit_assets.access.changes import Statement
from audit_assets.access.load import load_policy
from audit_assets.access.model import Policy
from audit_assets.access.plan import Plan, plan, read_state, state_without_access
from audit_assets.warehouse.access import DatasetAccess, RowPolicyState, TagState
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets_tests.access.fake_iam import FakeAccessPlane
from audit_assets_tests.access.shipped import DATASETS, altered, known, shipped

pytestmark = pytest.mark.requirement("R60")
NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)
SRE, PRODUCT = "group:ai-audit-sre@example.com", "group:ai-audit-product@example.com"
PIPELINE = "serviceAccount:ai-audit-pipeline@example-project.iam.gserviceaccount.com"


@pytest.fixture
def plane() -> FakeAccessPlane:
    """A warehouse with all its tables, without any access yet."""
    return FakeAccessPlane(known().tables)


def planned(plane: FakeAccessPlane, policy: Policy | None = None) -> Plan:
    policy = policy or shipped()
    return plan(policy, DATASETS, read_state(plane, policy, DATASETS, known()), known())


def applied(plane: FakeAccessPlane, policy: Policy | None = None) -> list[dict[str, object]]:
    return [dict(record) for record in apply(planned(plane, policy), plane, lambda: NOON)]


def summaries(found: Plan) -> list[str]:
    return [change.summary for change in found.changes]


def test_what_is_applied_needs_nothing_more(plane: FakeAccessPlane):
    records = applied(plane)
    assert planned(plane) == Plan((), (), ())
    assert len(records) > 30
    assert records[0]["event"] == "access"
    assert records[0]["at"] == NOON


def test_a_review_without_a_connection_holds_every_statement_that_is_applied(plane: FakeAccessPlane):
    offline = plan(shipped(), DATASETS, state_without_access(known()), known())
    applied(plane)
    assert [change.action.sql for change in offline.changes if isinstance(change.action, Statement)] == plane.statements


def test_nobody_gains_access_before_rows_and_columns_are_narrowed_and_the_writer_never_loses_it(plane: FakeAccessPlane):
    changes = planned(plane).changes
    first_gain = next(n for n, change in enumerate(changes) if change.effect == "opens" and " read " in change.summary)
    narrowing = [n for n, change in enumerate(changes) if change.effect == "narrows"]
    assert max(narrowing) < first_gain
    statements = [change.action.sql for change in changes if isinstance(change.action, Statement)]
    policies = [sql for sql in statements if "row access policy" in sql]
    assert PIPELINE in policies[0]
    assert "filter using (true)" in policies[0]


def test_access_beyond_the_files_is_revoked(plane: FakeAccessPlane):
    applied(plane)
    plane.readers_of["analytics", "ai_audit_logs"].add(PRODUCT)
    plane.change_dataset("analytics", DatasetAccess(frozenset({SRE, "projectReaders"})), DatasetAccess())
    found = planned(plane)
    assert summaries(found) == [
        f"sre ({SRE}), projectReaders no longer read all of analytics",
        f"product-analytics ({PRODUCT}) no longer read analytics.ai_audit_logs",
    ]
    assert {change.effect for change in found.changes} == {"narrows"}
    applied(plane)
    assert planned(plane).changes == ()


def test_missing_access_is_granted_again(plane: FakeAccessPlane):
    applied(plane)
    plane.readers_of["analytics", "ai_audit_daily"].remove(SRE)  # as when dbt drops a table and creates it again
    assert summaries(planned(plane)) == [f"sre ({SRE}) read analytics.ai_audit_daily"]


def test_access_that_is_not_managed_is_reported_and_left_alone(plane: FakeAccessPlane):
    applied(plane)
    plane.readers_of["analytics", "ai_audit_daily"].add("user:someone@elsewhere.test")
    everybody = DatasetAccess(frozenset({"allAuthenticatedUsers"}), frozenset({("finance", "costs")}))
    plane.change_dataset("analytics", everybody, DatasetAccess())
    plane.rows["ai_audit_rejects"] = {"theirs": RowPolicyState("true", frozenset({SRE}))}
    plane.texts["of_old"] = "select 1"
    found = planned(plane)
    assert found.changes == ()
    assert found.unmanaged == (
        "allAuthenticatedUsers reads all of analytics and is not in groups.yaml: it includes more people than any "
        "group; add it to `former` to revoke it",
        "user:someone@elsewhere.test reads analytics.ai_audit_daily and is not in groups.yaml",
        "the view finance.costs may read analytics and is not in views.yaml",
        "the view analytics_views.of_old is in no file any more and is not authorized; drop it",
        "the row policy theirs of analytics.ai_audit_rejects is not in rows.yaml",
    )


def test_a_policy_by_hand_on_a_table_of_ours_is_dropped(plane: FakeAccessPlane):
    applied(plane)
    plane.rows["ai_audit_logs"]["all_of_it"] = RowPolicyState("true", frozenset({PRODUCT}))
    assert summaries(planned(plane)) == [
        f"product-analytics ({PRODUCT}) no longer see rows of analytics.ai_audit_logs where true"
    ]
    applied(plane)
    assert planned(plane).changes == ()


def test_a_policy_that_was_changed_by_hand_is_put_right_in_one_statement(plane: FakeAccessPlane):
    applied(plane)
    wider = RowPolicyState("TRUE", frozenset({PRODUCT, "user:someone@elsewhere.test"}))
    plane.rows["ai_audit_logs"]["ai_audit_no_drills"] = wider
    (change,) = planned(plane).changes
    assert change.summary == (
        "the policy no_drills of analytics.ai_audit_logs shows rows where drill_id is null; "
        "no longer those where TRUE; user:someone@elsewhere.test lose it"
    )
    assert change.effect == "narrows"


def test_spaces_and_case_outside_quotes_are_no_change(plane: FakeAccessPlane):
    applied(plane)
    there = plane.rows["ai_audit_logs"]["ai_audit_no_drills"]
    plane.rows["ai_audit_logs"]["ai_audit_no_drills"] = RowPolicyState("drill_id  IS\nNULL", there.principals)
    plane.texts["workspaces"] = " ".join(plane.texts["workspaces"].upper().split()).replace(
        "MAD-VIBE-PROD.ANALYTICS.AI_AUDIT_WORKSPACES", "mad-vibe-prod.analytics.ai_audit_workspaces"
    )
    assert planned(plane).changes == ()


def test_the_last_policies_of_a_table_go_at_once_and_the_plan_says_what_that_opens(
    plane: FakeAccessPlane, tmp_path: Path
):
    applied(plane)
    rows = tmp_path / "rows.yaml"
    altered(tmp_path)
    rows.write_text("tables: {}\n")
    without = load_policy(tmp_path, known())
    (change,) = planned(plane, without).changes
    assert change.summary == "analytics.ai_audit_logs no longer has row policies: its readers see every row"
    assert change.effect == "opens"
    assert isinstance(change.action, Statement)
    assert change.action.sql.startswith("drop all row access policies")
    applied(plane, without)
    assert planned(plane, without).changes == ()


def test_a_view_removed_from_the_files_is_no_longer_authorized(plane: FakeAccessPlane, tmp_path: Path):
    applied(plane)
    altered(
        tmp_path,
        ("grants", "[interactions, workspaces]", "[interactions]"),
        ("views", "  workspaces:\n", "  other:\n"),
    )
    changed = load_policy(tmp_path, known())
    found = planned(plane, changed)
    assert "workspaces no longer read analytics as authorized views" in summaries(found)
    assert f"product-analytics ({PRODUCT}) no longer read analytics_views.workspaces" in summaries(found)
    applied(plane, changed)
    assert planned(plane, changed).changes == ()


def test_a_tag_that_was_widened_is_narrowed_and_a_column_that_lost_its_tag_has_it_again(plane: FakeAccessPlane):
    applied(plane)
    there = plane.tag_states["person"]
    plane.tag_states["person"] = TagState(there.raw | {PRODUCT}, "ALWAYS_NULL", there.masked)
    del plane.tagged["ai_audit_workspaces"]["owner"]  # as after an overwrite
    plane.tagged["ai_audit_logs"]["status"] = "evidence"
    assert summaries(planned(plane)) == [
        f"pipeline, compliance, dashboards see the columns tagged person; no longer product-analytics ({PRODUCT})",
        "sre see them masked (SHA256)",
        "status no longer have a tag: every reader of the table sees them",
        "owner is tagged person",
    ]
    applied(plane)
    assert planned(plane).changes == ()


def test_the_tag_of_another_taxonomy_gives_way_only_where_ours_is_wanted(plane: FakeAccessPlane):
    applied(plane)
    plane.tagged["ai_audit_logs"] |= {"status": "projects/p/other", "snapshot_id": "projects/p/other"}
    assert summaries(planned(plane)) == ["snapshot_id is tagged evidence"]


def test_missing_tables_are_reported_with_the_command_that_creates_them(plane: FakeAccessPlane):
    for table in ("ai_audit_workspaces", "ai_audit_daily"):
        del plane.readers_of["analytics", table]
    found = planned(plane)
    assert found.waiting == (
        "analytics.ai_audit_daily does not exist yet; run `audit build`, then plan again",
        "analytics.ai_audit_workspaces does not exist yet; run `audit sync`, then plan again",
    )
    applied(plane)
    assert planned(plane).changes == ()


def test_a_missing_warehouse_is_reported_with_the_fix(plane: FakeAccessPlane):
    plane.datasets.clear()
    with pytest.raises(WarehouseError, match=r"mad-vibe-prod\.analytics does not exist; run `audit sync --dest"):
        planned(plane)


def test_apply_ends_at_a_refused_change_and_a_second_run_continues(plane: FakeAccessPlane):
    plane.denied_text = "ai_audit_no_drills"
    with pytest.raises(
        ApplyError, match=r"change 2 of \d+ .*rowAccessPolicies.create denied.*the changes before it are done"
    ):
        applied(plane)
    assert len(plane.statements) == 1
    plane.denied_text = "nothing at all"
    applied(plane)
    assert planned(plane).changes == ()
