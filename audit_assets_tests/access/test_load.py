"""The access files as values, and how errors in them are reported: file, line, field and fix."""

from pathlib import Path

import pytest

from audit_assets.access.load import AccessFileError, load_policy, placeholders
from audit_assets_tests.access.shipped import FOLDER, altered, known, owned, shipped

pytestmark = pytest.mark.requirement("R60")


def error_of(folder: Path) -> str:
    with pytest.raises(AccessFileError) as error:
        load_policy(folder, known())
    return str(error.value)


def test_the_shipped_files_know_the_three_groups_of_the_playbook():
    policy = shipped()
    assert {"compliance", "product-analytics", "sre"} <= set(policy.groups.groups)
    assert set(policy.grants.reads) == set(policy.groups.groups)


def test_shipped_addresses_stand_in_for_others_and_are_named_where_they_stand(tmp_path: Path):
    message = [str(one) for one in placeholders(FOLDER, shipped())]
    assert len(message) == 5
    assert message[0].startswith("groups.yaml:5: groups.compliance.principals.0: group:ai-audit-compliance@example.com")
    owned_folder = owned(tmp_path)
    assert list(placeholders(owned_folder, load_policy(owned_folder, known()))) == []


CASES = {
    "a misspelt field": (
        [("groups", "former:", "formr:")],
        "groups.yaml:24: formr: unknown field; did you mean former?",
    ),
    "an address without a kind": (
        [("groups", "group:ai-audit-sre@", "ai-audit-sre@")],
        "groups.yaml:11: groups.sre.principals.0: 'ai-audit-sre@example.com' is not valid",
    ),
    "a group that is not there": (
        [("grants", "  sre:\n", "  sree:\n")],
        "grants.yaml:20: reads.sree: sree: no such group; did you mean sre?",
    ),
    "a table that is not there": (
        [("grants", "- ai_audit_total_grid", "- ai_audit_totl_grid")],
        "ai_audit_totl_grid: no such table; did you mean ai_audit_total_grid?",
    ),
    "dbt's view without the table under it": (
        [("grants", "      - ai_audit_logs\n", "")],
        "stg_ai_audit_logs is a view over ai_audit_logs, which the group may not read; grant both, or neither",
    ),
    "a view of a view": (
        [("views", "of: ai_audit_logs", "of: stg_ai_audit_logs")],
        "stg_ai_audit_logs is a view itself",
    ),
    "a view without the column of its partitions": (
        [("views", "      - created_at\n", "")],
        "ai_audit_logs is partitioned by created_at, and a query without it reads the whole table; add it",
    ),
    "a column that is not there": (
        [("views", "- completion_tokens", "- completion_token")],
        "completion_token: no column of ai_audit_logs; did you mean completion_tokens?",
    ),
    "policies that forget the writer": (
        [("rows", "[pipeline, compliance, dashboards]", "[compliance, dashboards]")],
        "tables.ai_audit_logs: no policy with `filter: true` is for pipeline: BigQuery shows no row",
    ),
    "a writer with a policy that does not show every row": (
        [
            (
                "rows",
                'to: [pipeline, compliance, dashboards]\n        filter: "true"',
                "to: [pipeline, compliance, dashboards]\n        filter: drill_id is null",
            )
        ],
        "no policy with `filter: true` is for pipeline",
    ),
    "a group that reads through a view and has no policy": (
        [("rows", "to: [sre]", "to: [product-analytics]")],
        "sre reads the table, directly or through a view, and has no policy: it would see no row",
    ),
    "a policy for a group that reads nothing of the table": (
        [("grants", "    views: [interactions]\n", "")],
        "sre reads ai_audit_logs neither directly nor through a view",
    ),
    "a policy with a subquery": (
        [("rows", "drill_id is null", "capability in (select capability from x)")],
        "holds a subquery: masked columns and the Storage API refuse those",
    ),
    "policies on what dbt builds": (
        [("rows", "  ai_audit_logs:", "  ai_audit_daily:")],
        "ai_audit_daily is not one of the sync's own tables: dbt rebuilds it, which silently drops its policies",
    ),
    "a tag on what dbt builds": (
        [("columns", "ai_audit_workspaces: [name, owner]", "ai_audit_workspace_stats: [workspace_path]")],
        "ai_audit_workspace_stats is not one of the sync's own tables",
    ),
    "a tag that its writer may not read": (
        [("columns", "raw: [pipeline, compliance]", "raw: [compliance]")],
        "pipeline is missing here, and a MERGE reads what it changes",
    ),
    "a tag that forgets a reader of its table": (
        [("columns", "    masked:\n      to: [sre]\n      by: SHA256\n", "")],
        "sre reads ai_audit_workspaces and is under none of raw, masked and denied: its `select *` would fail",
    ),
    "a tagged column in a view for those who may not see it": (
        [("views", "[team, last_accessed_at, synced_at]", "[team, owner, last_accessed_at, synced_at]")],
        "product-analytics reads owner through the view workspaces, which BigQuery refuses",
    ),
    "a column with two tags": (
        [("columns", "snapshot_id, model_parameters]", "snapshot_id, snapshot_id]")],
        "snapshot_id has the tag evidence already; BigQuery takes one",
    ),
    "a former principal that is in use": (
        [("groups", "[projectReaders]", '["group:ai-audit-sre@example.com"]')],
        "group:ai-audit-sre@example.com is in use; remove it from one of the two places",
    ),
    "a page in two folders": (
        [("dashboards", "[workspace]", "[workspace, overview]")],
        "overview is in AI Copilot / Observability already",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_invalid_files_are_rejected_with_place_and_fix(case: str, tmp_path: Path):
    changes, message = CASES[case]
    assert message in error_of(altered(tmp_path, *changes))


def test_a_filter_of_true_may_be_written_as_a_boolean(tmp_path: Path):
    folder = altered(tmp_path, ("rows", 'filter: "true"', "filter: true"))
    assert load_policy(folder, known()).rows == shipped().rows


def test_a_folder_without_its_files_says_which_it_wants(tmp_path: Path):
    assert "the folder holds groups, grants, views, rows, columns, dashboards, each .yaml" in error_of(tmp_path)


def test_dbt_has_no_view_but_those_that_grants_know(tmp_path: Path):
    staging = {path.stem for path in (FOLDER.parents[1] / "dbt/models/staging").glob("*.sql")}
    assert staging == set(known().views)


def test_the_account_of_the_dashboards_reads_what_the_tiles_read_and_no_more():
    from audit_assets.dashboards.definition.load import load_definition
    from audit_assets.settings import read_settings

    definition = load_definition(read_settings().dashboards_folder)
    read = {table for source in definition.metrics.sources.values() for table in source.reads}
    assert set(shipped().grants.reads["dashboards"].tables) == read | {"ai_audit_logs"}


def test_product_analytics_sees_no_name_no_owner_and_no_workspace():
    policy, tables = shipped(), known().tables
    read = policy.grants.reads["product-analytics"]
    columns = {column for table in read.tables for column in tables[table]}
    columns |= {column for view in read.views for column in policy.views.views[view].columns}
    assert columns & {"name", "owner", "workspace_id", "workflow_id", "source_documents", "snapshot_id"} == set()


@pytest.mark.parametrize("name", ["rows.yml", "ROWS.YAML", "more_rows.yaml"])
def test_a_yaml_file_that_is_none_of_the_folders_is_refused(tmp_path: Path, name: str):
    folder = altered(tmp_path, ("rows", 'filter: "true"', "filter: true"))
    (folder / name).write_text("{}")
    message = error_of(folder)
    assert message.startswith(f"{name}: is not read; ")
    assert "rename or remove it" in message
