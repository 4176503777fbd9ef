"""Access control in BigQuery: dataset access lists, row policies, policy tags and masks, by client and REST APIs."""

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import httpx

from audit_assets.config.json_values import is_object
from audit_assets.warehouse.access import MASKED_READER, RAW_READER, VIEWER, DatasetAccess, RowPolicyState, TagState
from audit_assets.warehouse.bigquery.client import TableLocation, open_client
from audit_assets.warehouse.protocol import WarehouseError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud import bigquery


_SECONDS = 30
_PERMISSION = re.compile(r"\b((?:bigquery|datacatalog|resourcemanager)\.[A-Za-z]+\.[A-Za-z]+)\b")


class Rest:
    """Google's REST APIs, over an HTTP client that signs requests. `open_http` is called before the first request."""

    def __init__(self, open_http: Callable[[], httpx.Client]) -> None:
        self._open = open_http
        self._http: httpx.Client | None = None

    def get(self, address: str, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The response. Raises WarehouseError, as all methods do."""
        return self._request("GET", address, parameters, None)

    def pages(self, address: str, field: str, parameters: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """The items of a listing, from all its pages."""
        token = ""
        while True:
            page = self.get(address, {**(parameters or {}), **({"pageToken": token} if token else {})})
            yield from page.get(field, ())
            token = page.get("nextPageToken", "")
            if not token:
                return

    def post(self, address: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._request("POST", address, None, body)

    def patch(self, address: str, body: Mapping[str, Any], mask: str) -> dict[str, Any]:
        """Changes the fields of `mask`."""
        return self._request("PATCH", address, {"updateMask": mask}, body)

    def delete(self, address: str) -> None:
        self._request("DELETE", address, None, None)

    def _request(
        self, verb: str, address: str, parameters: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if self._http is None:
            self._http = self._open()
        about = address.split("?")[0].split("/projects/")[-1]
        try:
            answer = self._http.request(verb, address, params=parameters, json=body, timeout=_SECONDS)
        except httpx.HTTPError as error:
            raise WarehouseError(
                f"{about}: nothing answers at {address.split('/')[2]} ({type(error).__name__})"
            ) from None
        document = _json(answer)
        if answer.status_code >= 400:
            problem = document.get("error", {})
            message = problem.get("message", "") if is_object(problem) else str(problem)
            raise WarehouseError(f"{about}: {with_fix(message or answer.reason_phrase, answer.status_code)}")
        return document


def with_fix(message: str, status: int | None) -> str:
    """Google's message, with the fix."""
    text = message.strip().rstrip(".")[:400]
    missing = _PERMISSION.search(message)
    if status == 403 and missing:
        return f"{text}; the account that applies lacks {missing[1]}: give it a role that has it, then apply again"
    match status:
        case 401:
            return f"{text}; sign in with `gcloud auth application-default login`"
        case 403:
            return f"{text}; the account that applies lacks a right, or an API is not enabled in the project"
        case 404:
            return f"{text}; it existed when the plan was made: plan again"
        case 409 | 412:
            return f"{text}; somebody else changed it in the meantime: plan again"
        case 429:
            return f"{text}; Google's limit on such changes is reached: wait a minute, then apply again"
        case _:
            return text


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if is_object(document) else {}


CATALOG = "https://datacatalog.googleapis.com/v1"
DATA_POLICIES = "https://bigquerydatapolicy.googleapis.com/v1"


def without_project(resource: str) -> str:
    """A resource's name without its project: one API uses the project's id, the other its number."""
    return resource.partition("/locations/")[2]


class PolicyTags:
    """The taxonomies of one location: `parent` is projects/…/locations/…"""

    def __init__(self, rest: Rest, parent: str) -> None:
        self._rest = rest
        self._parent = parent

    def resources(self, taxonomy: str) -> Mapping[str, str]:
        """Tag name → resource; empty if the taxonomy does not exist."""
        found = self._taxonomy(taxonomy)
        if found is None:
            return {}
        tags = self._rest.pages(f"{CATALOG}/{found}/policyTags", "policyTags")
        return {tag["displayName"]: tag["name"] for tag in tags}

    def read(self, taxonomy: str) -> Mapping[str, TagState]:
        """The tags with their readers and masks."""
        masks = {without_project(policy["policyTag"]): policy for policy in self._data_policies()}
        found: dict[str, TagState] = {}
        for name, resource in self.resources(taxonomy).items():
            raw = _policy_members(self._rest.post(f"{CATALOG}/{resource}:getIamPolicy", {}), RAW_READER)
            mask = masks.get(without_project(resource))
            if mask is None:
                found[name] = TagState(raw)
                continue
            iam_policy = self._rest.post(f"{DATA_POLICIES}/{mask['name']}:getIamPolicy", {})
            by = mask["dataMaskingPolicy"].get("predefinedExpression", "a routine")
            found[name] = TagState(raw, by, _policy_members(iam_policy, MASKED_READER))
        return found

    def set_readers(self, taxonomy: str, tag: str, description: str, principals: Collection[str]) -> None:
        """Lets exactly `principals` see raw values; creates the tag and its taxonomy if they are missing."""
        resource = self.resources(taxonomy).get(tag)
        if resource is None:
            parent = self._taxonomy(taxonomy) or self._made_taxonomy(taxonomy)
            body = {"displayName": tag, "description": description}
            resource = str(self._rest.post(f"{CATALOG}/{parent}/policyTags", body)["name"])
        self._set_members(f"{CATALOG}/{resource}", RAW_READER, principals)

    def set_mask(self, taxonomy: str, tag: str, mask: str | None, principals: Collection[str]) -> None:
        """Lets exactly `principals` see values masked by `mask`; None removes the mask."""
        resource = self.resources(taxonomy)[tag]
        tagged = without_project(resource)
        policies = (policy for policy in self._data_policies() if without_project(policy["policyTag"]) == tagged)
        existing = next(policies, None)
        if mask is None:
            if existing is not None:
                self._rest.delete(f"{DATA_POLICIES}/{existing['name']}")
            return
        masking = {"dataMaskingPolicy": {"predefinedExpression": mask}}
        if existing is None:
            body = {
                "dataPolicyId": re.sub(r"\W", "_", f"{taxonomy}_{tag}_mask"),
                "dataPolicyType": "DATA_MASKING_POLICY",
                "policyTag": resource,
                **masking,
            }
            existing = self._rest.post(f"{DATA_POLICIES}/{self._parent}/dataPolicies", body)
        else:
            self._rest.patch(f"{DATA_POLICIES}/{existing['name']}", masking, "dataMaskingPolicy")
        self._set_members(f"{DATA_POLICIES}/{existing['name']}", MASKED_READER, principals)

    def _taxonomy(self, name: str) -> str | None:
        found = self._rest.pages(f"{CATALOG}/{self._parent}/taxonomies", "taxonomies")
        return next((item["name"] for item in found if item["displayName"] == name), None)

    def _made_taxonomy(self, name: str) -> str:
        body = {"displayName": name, "activatedPolicyTypes": ["FINE_GRAINED_ACCESS_CONTROL"]}
        return str(self._rest.post(f"{CATALOG}/{self._parent}/taxonomies", body)["name"])

    def _data_policies(self) -> list[dict[str, Any]]:
        listed = self._rest.pages(f"{DATA_POLICIES}/{self._parent}/dataPolicies", "dataPolicies")
        return [policy for policy in listed if policy.get("policyTag") and policy.get("dataMaskingPolicy")]

    def _set_members(self, address: str, role: str, principals: Collection[str]) -> None:
        """Binds the role to exactly these principals. Other roles stay; the etag prevents lost updates."""
        iam_policy = self._rest.post(f"{address}:getIamPolicy", {})
        others = [binding for binding in iam_policy.get("bindings", ()) if binding["role"] != role]
        own = [{"role": role, "members": sorted(principals)}] if principals else []
        self._rest.post(f"{address}:setIamPolicy", {"policy": {**iam_policy, "bindings": [*others, *own]}})


def _policy_members(policy: Mapping[str, Any], role: str) -> frozenset[str]:
    return frozenset(
        member for binding in policy.get("bindings", ()) if binding["role"] == role for member in binding["members"]
    )


ENDPOINT = "https://bigquery.googleapis.com"
FILTERED_VIEWER = "roles/bigquery.filteredDataViewer"
_READER = ("READER", VIEWER)
# Seconds. By default the client retries an unreachable address for ten minutes.
_REQUEST_SECONDS, _TOTAL_SECONDS = 30, 60


class GoogleAccessPlane:
    """The AccessPlane of a project. `rest` does what the client cannot; `location` is that of the datasets."""

    def __init__(self, client: "bigquery.Client", rest: Rest, location: str, endpoint: str = ENDPOINT) -> None:
        from google.cloud.bigquery.retry import DEFAULT_RETRY

        self._client = client
        self._rest = rest
        self._base = f"{endpoint}/bigquery/v2/projects/{client.project}/datasets"
        self._tags = PolicyTags(rest, f"projects/{client.project}/locations/{location.lower()}")
        self._request_options: dict[str, Any] = {
            "timeout": _REQUEST_SECONDS,
            "retry": DEFAULT_RETRY.with_timeout(_TOTAL_SECONDS),
        }

    def run(self, statement: str) -> None:
        with _google_errors("running a statement"):
            self._rows(statement)

    def dataset(self, dataset: str) -> DatasetAccess | None:
        from google.api_core.exceptions import NotFound

        with _google_errors(f"reading the dataset {dataset}"):
            try:
                found = self._client.get_dataset(dataset, **self._request_options)
            except NotFound:
                return None
        entries = found.access_entries
        readers = frozenset(_principal(entry) for entry in entries if entry.role in _READER)
        return DatasetAccess(readers - {""}, frozenset(self._view(entry) for entry in entries if _is_view(entry)))

    def change_dataset(self, dataset: str, add: DatasetAccess, remove: DatasetAccess) -> None:
        with _google_errors(f"changing who reads the dataset {dataset}"):
            found = self._client.get_dataset(dataset, **self._request_options)
            kept = [entry for entry in found.access_entries if not self._is_among(entry, remove)]
            new = [*map(_reader_entry, sorted(add.readers)), *(self._view_entry(view) for view in sorted(add.views))]
            found.access_entries = [*kept, *new]
            # The update sends the dataset's etag, so that a concurrent change is not overwritten.
            self._client.update_dataset(found, ["access_entries"], **self._request_options)

    def names(self, dataset: str) -> frozenset[str]:
        with _google_errors(f"listing the tables of {dataset}"):
            tables = cast("Iterable[Any]", self._client.list_tables(dataset, **self._request_options))
            return frozenset(table.table_id for table in tables)

    def readers(self, dataset: str, name: str) -> frozenset[str]:
        from google.api_core.exceptions import NotFound

        with _google_errors(f"reading the grants of {dataset}.{name}"):
            try:
                iam_policy = self._client.get_iam_policy(
                    f"{self._client.project}.{dataset}.{name}", **self._request_options
                )
            except NotFound:  # a sync's staging table, which is deleted soon
                return frozenset()
        return _members(cast("list[Any]", iam_policy.bindings), VIEWER)

    def row_policies(self, dataset: str, table: str) -> Mapping[str, RowPolicyState]:
        address = f"{self._base}/{dataset}/tables/{table}/rowAccessPolicies"
        found: dict[str, RowPolicyState] = {}
        for policy in self._rest.pages(address, "rowAccessPolicies"):
            name = policy["rowAccessPolicyReference"]["policyId"]
            # Only the policy's IAM lists its principals.
            iam_policy = self._rest.post(f"{address}/{name}:getIamPolicy", {})
            found[name] = RowPolicyState(
                policy["filterPredicate"], _members(iam_policy.get("bindings", ()), FILTERED_VIEWER)
            )
        return found

    def view_texts(self, dataset: str) -> Mapping[str, str]:
        views = f"`{self._client.project}.{dataset}.INFORMATION_SCHEMA.VIEWS`"
        with _google_errors(f"reading the views of {dataset}"):
            rows = self._rows(f"select table_name, view_definition from {views}")
            return {str(row["table_name"]): str(row["view_definition"]) for row in rows}

    def tags(self, taxonomy: str) -> Mapping[str, TagState]:
        return self._tags.read(taxonomy)

    def column_tags(self, taxonomy: str, dataset: str, table: str) -> Mapping[str, str]:
        with _google_errors(f"reading the columns of {dataset}.{table}"):
            found = self._client.get_table(f"{self._client.project}.{dataset}.{table}", **self._request_options)
        fields = cast("list[Any]", found.schema)
        tagged = {str(field.name): str(field.policy_tags.names[0]) for field in fields if field.policy_tags}
        if not tagged:
            return {}
        names = {without_project(resource): name for name, resource in self._tags.resources(taxonomy).items()}
        return {column: names.get(without_project(resource), resource) for column, resource in tagged.items()}

    def set_tag_readers(self, taxonomy: str, tag: str, description: str, principals: Collection[str]) -> None:
        self._tags.set_readers(taxonomy, tag, description, principals)

    def set_mask(self, taxonomy: str, tag: str, mask: str | None, principals: Collection[str]) -> None:
        self._tags.set_mask(taxonomy, tag, mask, principals)

    def set_column_tags(self, taxonomy: str, dataset: str, table: str, tags: Mapping[str, str | None]) -> None:
        from google.cloud import bigquery

        resources = self._tags.resources(taxonomy)
        with _google_errors(f"tagging columns of {dataset}.{table}"):
            found = self._client.get_table(f"{self._client.project}.{dataset}.{table}", **self._request_options)
            schema: list[bigquery.SchemaField] = []
            for field in cast("list[Any]", found.schema):
                api = field.to_api_repr()
                if field.name in tags:
                    tag = tags[field.name]
                    api["policyTags"] = {"names": [resources[tag]] if tag else []}
                schema.append(bigquery.SchemaField.from_api_repr(api))
            found.schema = schema
            self._client.update_table(found, ["schema"], **self._request_options)

    def _rows(self, sql: str) -> list[Mapping[str, object]]:
        # The job's own retry would take another ten minutes.
        job = self._client.query(sql, job_retry=None, **self._request_options)
        rows = cast("Iterable[Any]", job.result(job_retry=None, **self._request_options))
        return [dict(row) for row in rows]

    def _view(self, entry: "bigquery.AccessEntry") -> tuple[str, str]:
        """(dataset, view); the dataset includes the project if it is another one."""
        view: Mapping[str, str] = entry.entity_id  # type: ignore[assignment]
        other = view["projectId"] != self._client.project
        return (f"{view['projectId']}.{view['datasetId']}" if other else view["datasetId"], view["tableId"])

    def _view_entry(self, view: tuple[str, str]) -> "bigquery.AccessEntry":
        from google.cloud import bigquery

        dataset, name = view
        return bigquery.AccessEntry(
            None, "view", {"projectId": self._client.project, "datasetId": dataset, "tableId": name}
        )

    def _is_among(self, entry: "bigquery.AccessEntry", access: DatasetAccess) -> bool:
        if _is_view(entry):
            return self._view(entry) in access.views
        return entry.role in _READER and _principal(entry) in access.readers


def open_plane(location: TableLocation) -> GoogleAccessPlane:
    """The GoogleAccessPlane of a location, with the caller's own Google credentials, or without for an emulator.

    Raises WarehouseError.
    """
    client = open_client(location)
    rest = Rest(_signing_client if location.endpoint is None else httpx.Client)
    return GoogleAccessPlane(client, rest, location.location, location.endpoint or ENDPOINT)


def _signing_client() -> httpx.Client:
    import google.auth

    with _google_errors("signing in"):
        credentials = cast("Any", google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0])
    return httpx.Client(auth=GoogleAuth(credentials))


class GoogleAuth(httpx.Auth):
    """Signs requests with Google credentials, and renews them once if Google refuses them. Raises WarehouseError if
    they cannot be renewed."""

    def __init__(self, credentials: "Credentials") -> None:
        from google.auth.transport.requests import Request

        self._credentials, self._transport = credentials, Request()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        with _google_errors("signing in"):
            self._credentials.before_request(self._transport, request.method, str(request.url), request.headers)
        response = yield request
        if response.status_code == 401:
            with _google_errors("signing in"):
                self._credentials.refresh(self._transport)
                self._credentials.apply(request.headers)
            yield request


def _is_view(entry: "bigquery.AccessEntry") -> bool:
    return entry.entity_type == "view"


def _principal(entry: "bigquery.AccessEntry") -> str:
    """The entry's principal in IAM's format; empty if the entry is not a principal."""
    who = str(entry.entity_id)
    match entry.entity_type:
        case "userByEmail":
            return f"{'serviceAccount' if who.endswith('gserviceaccount.com') else 'user'}:{who.lower()}"
        case "groupByEmail":
            return f"group:{who.lower()}"
        case "domain":
            return f"domain:{who.lower()}"
        case "specialGroup":
            return who
        case "iamMember":
            return _lower(who)
        case _:
            return ""


def _reader_entry(principal: str) -> "bigquery.AccessEntry":
    from google.cloud import bigquery

    kind, _, who = principal.partition(":")
    kinds = {"user": "userByEmail", "serviceAccount": "userByEmail", "group": "groupByEmail", "domain": "domain"}
    return bigquery.AccessEntry("READER", kinds[kind], who)


def _members(bindings: Sequence[Mapping[str, Any]], role: str) -> frozenset[str]:
    return frozenset(
        _lower(member) for binding in bindings if binding["role"] == role for member in binding.get("members", ())
    )


def _lower(member: str) -> str:
    kind, colon, who = member.partition(":")
    return f"{kind}{colon}{who.lower()}"


@contextmanager
def _google_errors(doing: str) -> Generator[None]:
    """Raises Google's errors as WarehouseErrors, in one sentence with the fix."""
    import requests  # Google's client sends with it, and lets its errors through
    from google.api_core.exceptions import GoogleAPIError, RetryError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except RetryError as error:
        cause: object = error.cause
        why = f" ({type(cause).__name__})" if cause else ""
        raise WarehouseError(
            f"{doing}: nothing answered{why}; check the network, and that AI_AUDIT_BIGQUERY_ENDPOINT is right or unset"
        ) from None
    except GoogleAuthError as error:
        raise WarehouseError(f"{doing}: {with_fix(_one_line(error), 401)}") from None
    except (GoogleAPIError, requests.RequestException) as error:
        raise WarehouseError(f"{doing}: {with_fix(_one_line(error), getattr(error, 'code', None))}") from None


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(getattr(error, "message", "") or error))
