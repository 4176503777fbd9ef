"""What GoogleAccessPlane reads from Google's answers and sends back: table grants, column tags, access entries."""

from typing import Any, cast
from unittest.mock import Mock

import httpx
import pytest
from google.api_core.exceptions import Forbidden, PreconditionFailed
from google.api_core.iam import Policy
from google.cloud import bigquery

from audit_assets.warehouse.access import DatasetAccess
from audit_assets.warehouse.bigquery.iam import GoogleAccessPlane, PolicyTags, Rest
from audit_assets.warehouse.protocol import WarehouseError

pytestmark = pytest.mark.requirement("R60")
PERSON = "projects/p/locations/us/taxonomies/1/policyTags/2"
FIELDS = [
    bigquery.SchemaField("workspace_id", "STRING", description="Its id."),
    bigquery.SchemaField("owner", "STRING", policy_tags=bigquery.PolicyTagList([PERSON.replace("/p/", "/123456/")])),
    bigquery.SchemaField("name", "STRING", policy_tags=bigquery.PolicyTagList(["projects/p/locations/us/elsewhere"])),
]


class FakeBigQueryClient:
    """A fake client with one table and one dataset, which stores updates."""

    project = "p"

    def __init__(self) -> None:
        self.table = bigquery.Table("p.d.t", FIELDS)
        self.listed = bigquery.Dataset("p.d")
        self.fails: Exception | None = None

    def get_iam_policy(self, table: str, **options: Any) -> Policy:
        assert options["timeout"]
        if self.fails:
            raise self.fails
        policy = Policy()
        policy.bindings = [
            {"role": "roles/bigquery.dataViewer", "members": {"group:SRE@ai-audit.test", "domain:ai-audit.test"}},
            {"role": "roles/bigquery.dataOwner", "members": {"user:owner@ai-audit.test"}},
        ]
        return policy

    def get_table(self, table: str, **options: Any) -> bigquery.Table:
        return self.table

    def update_table(self, table: bigquery.Table, fields: list[str], **options: Any) -> None:
        assert fields == ["schema"]
        self.table = table

    def get_dataset(self, dataset: str, **options: Any) -> bigquery.Dataset:
        return self.listed

    def update_dataset(self, dataset: bigquery.Dataset, fields: list[str], **options: Any) -> None:
        if self.fails:
            raise self.fails
        self.listed = dataset


@pytest.fixture
def client() -> FakeBigQueryClient:
    return FakeBigQueryClient()


@pytest.fixture
def plane(client: FakeBigQueryClient, monkeypatch: pytest.MonkeyPatch) -> GoogleAccessPlane:
    monkeypatch.setattr(PolicyTags, "resources", Mock(return_value={"person": PERSON}))
    return GoogleAccessPlane(client, Rest(httpx.Client), "US")  # type: ignore[arg-type]


def test_readers_are_those_of_the_viewers_role_in_lower_case(plane: GoogleAccessPlane):
    assert plane.readers("d", "t") == {"group:sre@ai-audit.test", "domain:ai-audit.test"}


def test_columns_have_the_names_of_our_tags_and_the_resources_of_other_tags(plane: GoogleAccessPlane):
    assert plane.column_tags("audit", "d", "t") == {"owner": "person", "name": "projects/p/locations/us/elsewhere"}


def test_tags_are_set_and_taken_and_the_rest_of_the_schema_stays(plane: GoogleAccessPlane, client: FakeBigQueryClient):
    plane.set_column_tags("audit", "d", "t", {"name": "person", "owner": None})
    schema = cast("list[bigquery.SchemaField]", client.table.schema)
    sent: dict[str, Any] = {field.name: field.to_api_repr() for field in schema}
    assert sent["name"]["policyTags"] == {"names": [PERSON]}
    assert sent["owner"]["policyTags"] == {"names": []}
    assert sent["workspace_id"] == FIELDS[0].to_api_repr()


def test_every_kind_of_entry_is_known_and_only_those_meant_are_changed(
    plane: GoogleAccessPlane, client: FakeBigQueryClient
):
    entry = bigquery.AccessEntry
    theirs = [
        entry("OWNER", "userByEmail", "owner@ai-audit.test"),
        entry(None, "view", {"projectId": "other", "datasetId": "d", "tableId": "theirs"}),
        entry(None, "routine", {"projectId": "p", "datasetId": "d", "routineId": "r"}),
        entry("READER", "domain", "ai-audit.test"),
    ]
    client.listed.access_entries = [
        *theirs,
        entry("READER", "specialGroup", "projectReaders"),
        entry("READER", "userByEmail", "Robot@p.iam.gserviceaccount.com"),
        entry("roles/bigquery.dataViewer", "groupByEmail", "sre@ai-audit.test"),
        entry("READER", "iamMember", "allUsers"),
        entry(None, "view", {"projectId": "p", "datasetId": "d_views", "tableId": "old"}),
    ]
    ours = {
        "projectReaders",
        "serviceAccount:robot@p.iam.gserviceaccount.com",
        "group:sre@ai-audit.test",
        "allUsers",
    }
    assert plane.dataset("d") == DatasetAccess(
        frozenset({*ours, "domain:ai-audit.test"}), frozenset({("other.d", "theirs"), ("d_views", "old")})
    )
    add = DatasetAccess(frozenset({"group:new@ai-audit.test"}), frozenset({("d_views", "new")}))
    plane.change_dataset("d", add, DatasetAccess(frozenset(ours), frozenset({("d_views", "old")})))
    assert client.listed.access_entries == [
        *theirs,
        entry("READER", "groupByEmail", "new@ai-audit.test"),
        entry(None, "view", {"projectId": "p", "datasetId": "d_views", "tableId": "new"}),
    ]


def test_a_list_that_somebody_else_changed_meanwhile_is_not_written_over(
    plane: GoogleAccessPlane, client: FakeBigQueryClient
):
    client.fails = PreconditionFailed("Precondition check failed.")
    with pytest.raises(WarehouseError, match="somebody else changed it in the meantime: plan again"):
        plane.change_dataset("d", DatasetAccess(), DatasetAccess())


def test_a_missing_permission_is_named(plane: GoogleAccessPlane, client: FakeBigQueryClient):
    client.fails = Forbidden(
        "Access Denied: Table p:d.t: Permission bigquery.tables.getIamPolicy denied on table p:d.t"
    )
    with pytest.raises(WarehouseError, match=r"the account that applies lacks bigquery\.tables\.getIamPolicy"):
        plane.readers("d", "t")
