"""Policy tags, masks and grants through Google's REST APIs, as Google documents them."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError

from audit_assets.warehouse.access import MASKED_READER, RAW_READER, TagState
from audit_assets.warehouse.bigquery.iam import (
    CATALOG,
    DATA_POLICIES,
    GoogleAuth,
    PolicyTags,
    Rest,
    with_fix,
    without_project,
)
from audit_assets.warehouse.protocol import WarehouseError

pytestmark = pytest.mark.requirement("R60")
PARENT = "projects/p/locations/us"
COMPLIANCE, SRE = "group:compliance@ai-audit.test", "group:sre@ai-audit.test"


class FakeGoogle:
    """Data Catalog and the data policies of one location, in memory: resources, their IAM policies with etags."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Any]] = {}
        self.iam: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.denied: httpx.Response | None = None

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.respond))

    def respond(self, request: httpx.Request) -> httpx.Response:
        assert request.extensions["timeout"]["read"]
        if self.denied is not None:
            return self.denied
        url, params = str(request.url.copy_with(query=None)), dict(request.url.params)
        return self._respond(request.method, url, params, json.loads(request.content or "{}"))

    def _respond(self, method: str, url: str, params: dict[str, str], body: dict[str, Any]) -> httpx.Response:
        base = next(one for one in (CATALOG, DATA_POLICIES) if url.startswith(one))
        path = url.removeprefix(f"{base}/")
        self.requests.append(f"{method} {path}")
        if method == "POST" and path.endswith(":getIamPolicy"):
            return answer(200, self.iam.setdefault(path.split(":")[0], {"etag": "1"}))
        if method == "POST" and path.endswith(":setIamPolicy"):
            current = self.iam.setdefault(path.split(":")[0], {"etag": "1"})
            if body["policy"]["etag"] != current["etag"]:
                return answer(409, {"error": {"message": "etag mismatch"}})
            self.iam[path.split(":")[0]] = {**body["policy"], "etag": str(int(current["etag"]) + 1)}
            return answer(200, self.iam[path.split(":")[0]])
        if method == "GET":
            kind = path.rsplit("/", 1)[1]
            listed = [one for name, one in self.resources.items() if name.rsplit("/", 1)[0] == path]
            half = len(listed) // 2  # two pages, wherever there are two items
            if params.get("pageToken") or not half:
                return answer(200, {kind: listed[half:]})
            return answer(200, {kind: listed[:half], "nextPageToken": "more"})
        if method == "POST":
            name = f"{path}/{body.get('dataPolicyId') or len(self.resources)}"
            self.resources[name] = {**body, "name": name}
            if "policyTag" in body:  # returned with the project's number, as Google documents it
                self.resources[name]["policyTag"] = body["policyTag"].replace("projects/p/", "projects/123456/")
            return answer(200, self.resources[name])
        if method == "PATCH":
            assert params == {"updateMask": "dataMaskingPolicy"}
            self.resources[path] |= body
            return answer(200, self.resources[path])
        assert method == "DELETE"
        del self.resources[path]
        return answer(200, {})


def answer(status: int, body: Mapping[str, Any]) -> httpx.Response:
    return httpx.Response(status, json=body)


@pytest.fixture
def google() -> FakeGoogle:
    return FakeGoogle()


@pytest.fixture
def tags(google: FakeGoogle) -> PolicyTags:
    return PolicyTags(Rest(google.client), PARENT)


def test_a_tag_is_made_with_its_taxonomy_once_and_read_back(google: FakeGoogle, tags: PolicyTags):
    assert tags.read("audit") == {}
    tags.set_readers("audit", "person", "Identifies a person.", [COMPLIANCE])
    tags.set_mask("audit", "person", "SHA256", [SRE])
    tags.set_readers("audit", "evidence", "Refers to documents.", [COMPLIANCE])
    assert tags.read("audit") == {
        "person": TagState(frozenset({COMPLIANCE}), "SHA256", frozenset({SRE})),
        "evidence": TagState(frozenset({COMPLIANCE})),
    }
    assert google.requests.count(f"POST {PARENT}/taxonomies") == 1
    (taxonomy,) = [
        one
        for one in google.resources.values()
        if one["name"].startswith(f"{PARENT}/taxonomies/") and "activatedPolicyTypes" in one
    ]
    assert taxonomy["activatedPolicyTypes"] == ["FINE_GRAINED_ACCESS_CONTROL"]
    (mask,) = [one for one in google.resources.values() if "dataPolicyId" in one]
    assert mask["dataPolicyType"] == "DATA_MASKING_POLICY"
    assert without_project(mask["policyTag"]) == without_project(tags.resources("audit")["person"])
    assert mask["dataMaskingPolicy"] == {"predefinedExpression": "SHA256"}


def test_readers_are_exactly_those_wanted_and_other_roles_stay(google: FakeGoogle, tags: PolicyTags):
    tags.set_readers("audit", "person", "Identifies a person.", [COMPLIANCE, SRE])
    (resource,) = tags.resources("audit").values()
    theirs = {"role": "roles/owner", "members": ["user:owner@ai-audit.test"]}
    google.iam[resource]["bindings"].append(theirs)
    tags.set_readers("audit", "person", "Identifies a person.", [COMPLIANCE])
    assert google.iam[resource]["bindings"] == [theirs, {"role": RAW_READER, "members": [COMPLIANCE]}]


def test_a_mask_changes_in_place_and_goes_where_none_is_wanted(google: FakeGoogle, tags: PolicyTags):
    tags.set_readers("audit", "person", "Identifies a person.", [COMPLIANCE])
    tags.set_mask("audit", "person", "SHA256", [SRE])
    tags.set_mask("audit", "person", "ALWAYS_NULL", [SRE])
    assert tags.read("audit")["person"].mask == "ALWAYS_NULL"
    (policy,) = [name for name in google.iam if "/dataPolicies/" in name]
    assert google.iam[policy]["bindings"] == [{"role": MASKED_READER, "members": [SRE]}]
    tags.set_mask("audit", "person", None, [])
    assert tags.read("audit")["person"] == TagState(frozenset({COMPLIANCE}))


def test_a_missing_permission_is_named_with_the_fix(google: FakeGoogle, tags: PolicyTags):
    denied = {"error": {"message": "Permission 'datacatalog.taxonomies.list' denied on resource."}}
    google.denied = answer(403, denied)
    with pytest.raises(WarehouseError, match=r"lacks datacatalog\.taxonomies\.list: give it a role that has it"):
        tags.resources("audit")


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (401, "gcloud auth application-default login"),
        (403, "or an API is not enabled in the project"),
        (404, "plan again"),
        (412, "somebody else changed it in the meantime"),
        (429, "wait a minute"),
    ],
)
def test_errors_of_google_come_with_a_fix(status: int, fix: str):
    assert fix in with_fix("No.", status)


class FakeCredentials(Credentials):
    """Credentials whose token is the number of times they were renewed. `fails` is raised instead of renewing them."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__()
        self.renewed, self.fails = 0, fails

    def refresh(self, request: object) -> None:
        if self.fails is not None:
            raise self.fails
        self.renewed += 1
        self.token = str(self.renewed)


def client_signing_with(credentials: FakeCredentials, accepted: str) -> httpx.Client:
    """A client of a service that answers 401 unless the token is `accepted`."""

    def respond(request: httpx.Request) -> httpx.Response:
        known = request.headers["Authorization"] == f"Bearer {accepted}"
        return answer(200, {"taxonomies": []}) if known else answer(401, {"error": {"message": "Invalid credentials."}})

    return httpx.Client(auth=GoogleAuth(credentials), transport=httpx.MockTransport(respond))


@pytest.mark.parametrize(("accepted", "renewed"), [("1", 1), ("2", 2)])
def test_requests_are_signed_and_refused_credentials_are_renewed_once(accepted: str, renewed: int):
    credentials = FakeCredentials()
    rest = Rest(lambda: client_signing_with(credentials, accepted))
    assert PolicyTags(rest, PARENT).resources("audit") == {}
    assert credentials.renewed == renewed


@pytest.mark.parametrize(
    "credentials",
    [FakeCredentials(), FakeCredentials(RefreshError("Reauthentication is needed."))],
    ids=["refused", "expired"],
)
def test_credentials_that_google_does_not_accept_come_with_a_fix(credentials: FakeCredentials):
    rest = Rest(lambda: client_signing_with(credentials, "another"))
    with pytest.raises(WarehouseError, match="sign in with `gcloud auth application-default login`"):
        PolicyTags(rest, PARENT).resources("audit")


def test_an_address_at_which_nothing_answers_is_named():
    def respond(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("timed out", request=request)

    rest = Rest(lambda: httpx.Client(transport=httpx.MockTransport(respond)))
    with pytest.raises(WarehouseError, match=r"nothing answers at datacatalog\.googleapis\.com \(ConnectTimeout\)"):
        PolicyTags(rest, PARENT).resources("audit")
