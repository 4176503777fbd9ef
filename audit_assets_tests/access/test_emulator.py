"""Access applied through the real client to a BigQuery emulator, and its effect read as a member of each group.

The emulator has no IAM, so no table grants, policy tags or masks. `fake_iam` has them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from audit_assets.access.apply import apply
from audit_assets.access.load import load_policy
from audit_assets.access.model import Datasets, Policy
from audit_assets.access.plan import Plan, plan, read_state
from audit_assets.demo.server_process import free_port
from audit_assets.warehouse.access import DatasetAccess, TagState
from audit_assets.warehouse.bigquery.client import TableLocation
from audit_assets.warehouse.bigquery.iam import GoogleAccessPlane, Rest, open_plane
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets_tests.access.shipped import altered, known
from audit_assets_tests.environments import NOW
from audit_assets_tests.untyped import NO_RETRY
from tools.emulator.running import Emulator

pytestmark = pytest.mark.requirement("R60")
DATASET = "access"
SRE, PRODUCT = "group:ai-audit-sre@example.com", "group:ai-audit-product@example.com"
COMPLIANCE = "group:ai-audit-compliance@example.com"
PIPELINE = "serviceAccount:ai-audit-pipeline@example-project.iam.gserviceaccount.com"
GRANTS = """\
reads:
  compliance: {why: reviews, datasets: [warehouse, views]}
  product-analytics: {why: adoption, datasets: [views]}
  sre: {why: incidents, datasets: [views]}
"""
ROWS = """
    ('of a drill', 'ws-1', 'drill-1', timestamp_sub(current_timestamp(), interval 1 day)),
    ('recent', 'ws-1', null, timestamp_sub(current_timestamp(), interval 1 day)),
    ('old', 'ws-2', null, timestamp_sub(current_timestamp(), interval 90 day))"""


class WithoutIam(GoogleAccessPlane):
    """GoogleAccessPlane for the emulator, which has no IAM and no tags, and refuses to replace a row policy."""

    def run(self, statement: str) -> None:
        replaced = re.match(r"create or replace row access policy (\w+)\non `[\w-]+\.(\w+)\.(\w+)`", statement)
        if replaced and replaced[1] in self.row_policies(replaced[2], replaced[3]):
            super().run(f"drop row access policy {replaced[1]} on `{replaced[2]}.{replaced[3]}`")
        super().run(statement)

    def readers(self, dataset: str, name: str) -> frozenset[str]:
        return frozenset()

    def tags(self, taxonomy: str) -> Mapping[str, TagState]:
        return {}


@pytest.fixture
def client(emulator: Emulator) -> Iterator[bigquery.Client]:
    """A client of a project with the two tables that the views read."""
    options = ClientOptions(api_endpoint=emulator.endpoint)
    with bigquery.Client(emulator.project, AnonymousCredentials(), client_options=options) as client:
        client.create_dataset(DATASET)
        for table in ("ai_audit_logs", "ai_audit_workspaces"):
            columns = ", ".join(f"{name} {kind}" for name, kind in known().tables[table].items())
            run(client, f"create table `{DATASET}.{table}` ({columns.replace('boolean', 'bool')})")
        run(client, f"insert into `{DATASET}.ai_audit_logs` (id, workflow_id, drill_id, created_at) values {ROWS}")
        yield client
        for dataset in (f"{DATASET}_views", DATASET):
            client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)


@pytest.fixture
def plane(emulator: Emulator, client: bigquery.Client) -> WithoutIam:
    return WithoutIam(client, Rest(httpx.Client), "US", emulator.endpoint)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """The shipped rows and views, for groups that read whole datasets; no tags."""
    altered(tmp_path, ("rows", "compliance, dashboards]", "compliance]"))
    (tmp_path / "grants.yaml").write_text(GRANTS)
    (tmp_path / "columns.yaml").write_text("taxonomy: none\n")
    return load_policy(tmp_path, known())


def run(client: bigquery.Client, sql: str) -> None:
    client.query(sql, retry=NO_RETRY, job_retry=None, timeout=30).result(timeout=30, retry=None)


def planned(policy: Policy, plane: GoogleAccessPlane, emulator: Emulator) -> Plan:
    datasets = Datasets(emulator.project, DATASET, "US")
    return plan(policy, datasets, read_state(plane, policy, datasets, known()), known())


def applied(policy: Policy, plane: GoogleAccessPlane, emulator: Emulator) -> int:
    return len(list(apply(planned(policy, plane, emulator), plane, lambda: NOW)))


def seen(emulator: Emulator, principal: str, table: str) -> list[str]:
    """The ids that a principal sees in a table or view, sorted."""
    kind, who = principal.split(":")
    caller = {"X-Bqemu-Caller": "user:member@example.com", "X-Bqemu-Groups": who} if kind == "group" else {}
    answer = httpx.post(
        f"{emulator.endpoint}/bigquery/v2/projects/{emulator.project}/queries",
        json={"query": f"select id from `{emulator.project}.{table}` order by id", "useLegacySql": False},
        headers=caller or {"X-Bqemu-Caller": principal},
        timeout=30,
    )
    answer.raise_for_status()
    return [row["f"][0]["v"] for row in answer.json().get("rows", ())]


def test_what_is_applied_needs_nothing_more_and_each_group_sees_its_rows(
    emulator: Emulator, policy: Policy, plane: WithoutIam
):
    assert applied(policy, plane, emulator) > 8
    assert planned(policy, plane, emulator).changes == ()
    everything = ["of a drill", "old", "recent"]
    assert seen(emulator, PIPELINE, f"{DATASET}.ai_audit_logs") == everything
    assert seen(emulator, COMPLIANCE, f"{DATASET}_views.interactions") == everything
    assert seen(emulator, PRODUCT, f"{DATASET}_views.interactions") == ["old", "recent"]
    assert seen(emulator, SRE, f"{DATASET}_views.interactions") == ["of a drill", "recent"]
    assert seen(emulator, "group:others@example.com", f"{DATASET}_views.interactions") == []


def test_access_granted_by_hand_is_revoked_and_access_of_others_stays(
    emulator: Emulator, policy: Policy, plane: WithoutIam, client: bigquery.Client
):
    applied(policy, plane, emulator)
    dataset = client.get_dataset(DATASET)
    dataset.access_entries = [
        *dataset.access_entries,
        bigquery.AccessEntry("READER", "groupByEmail", PRODUCT.removeprefix("group:")),
        bigquery.AccessEntry("READER", "specialGroup", "projectReaders"),
        bigquery.AccessEntry("OWNER", "userByEmail", "owner@example.com"),
        bigquery.AccessEntry("READER", "userByEmail", "someone@elsewhere.test"),
    ]
    client.update_dataset(dataset, ["access_entries"])
    run(
        client,
        f"create row access policy wider on `{emulator.project}.{DATASET}.ai_audit_logs`"
        f" grant to ('{PRODUCT}') filter using (true)",
    )
    found = planned(policy, plane, emulator)
    assert [change.summary for change in found.changes] == [
        f"product-analytics ({PRODUCT}), projectReaders no longer read all of {DATASET}",
        f"product-analytics ({PRODUCT}) no longer see rows of {DATASET}.ai_audit_logs where true",
    ]
    assert found.unmanaged == (f"user:someone@elsewhere.test reads all of {DATASET} and is not in groups.yaml",)
    applied(policy, plane, emulator)
    assert planned(policy, plane, emulator).changes == ()
    left = {(entry.role, entry.entity_id) for entry in client.get_dataset(DATASET).access_entries if entry.role}
    assert left == {
        ("READER", COMPLIANCE.removeprefix("group:")),
        ("OWNER", "owner@example.com"),
        ("READER", "someone@elsewhere.test"),
    }
    assert seen(emulator, PRODUCT, f"{DATASET}_views.interactions") == ["old", "recent"]


def test_a_policy_that_changes_is_changed_in_place(
    emulator: Emulator, policy: Policy, plane: WithoutIam, tmp_path: Path
):
    applied(policy, plane, emulator)
    path = tmp_path / "rows.yaml"
    path.write_text(path.read_text().replace("interval 30 day", "interval 120 day"))
    wider = load_policy(tmp_path, known())
    (change,) = planned(wider, plane, emulator).changes
    assert change.summary.startswith(f"the policy last_30_days of {DATASET}.ai_audit_logs shows rows where created_at")
    assert applied(wider, plane, emulator) == 1
    assert seen(emulator, SRE, f"{DATASET}_views.interactions") == ["of a drill", "old", "recent"]


def test_an_error_of_the_emulator_names_the_step(emulator: Emulator, client: bigquery.Client):
    plane = open_plane(TableLocation(emulator.project, DATASET, "US", emulator.endpoint))
    with pytest.raises(WarehouseError, match=r"running a statement: .*nowhere"):
        plane.run("select 1 from `nowhere.at_all`")
    with pytest.raises(WarehouseError, match=f"reading the grants of {DATASET}.ai_audit_logs"):
        plane.readers(DATASET, "ai_audit_logs")
    assert plane.dataset("nowhere") is None
    assert plane.view_texts(DATASET) == {}


def test_an_endpoint_that_does_not_answer_is_reported_within_the_timeout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("audit_assets.warehouse.bigquery.iam._TOTAL_SECONDS", 1)
    plane = open_plane(TableLocation("offline-project", DATASET, "US", f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(WarehouseError, match="reading the dataset access: nothing answered"):
        plane.dataset("access")
    with pytest.raises(WarehouseError, match="nothing answers at 127"):
        plane.row_policies("access", "ai_audit_logs")
    with pytest.raises(WarehouseError, match="changing who reads the dataset access: nothing answered"):
        plane.change_dataset("access", DatasetAccess(), DatasetAccess())
    with pytest.raises(WarehouseError, match="running a statement: nothing answered"):
        plane.run("select 1")
