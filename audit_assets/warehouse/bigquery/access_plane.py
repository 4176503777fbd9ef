"""Access as Google's APIs have it: datasets' lists, grants of tables, row policies, tagged columns."""

import re
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests

from audit_assets.warehouse.access import VIEWER, DatasetAccess, RowPolicyThere, TagThere
from audit_assets.warehouse.bigquery.client import Place, open_client
from audit_assets.warehouse.bigquery.policy_tags import PolicyTags, without_project
from audit_assets.warehouse.bigquery.rest import Rest, mended
from audit_assets.warehouse.protocol import WarehouseError

if TYPE_CHECKING:
    from google.cloud import bigquery

ENDPOINT = "https://bigquery.googleapis.com"
FILTERED_VIEWER = "roles/bigquery.filteredDataViewer"
_READER = ("READER", VIEWER)
# Seconds. The client's own default asks an address where nothing answers again for ten minutes.
_ONCE, _IN_ALL = 30, 60


class GoogleAccessPlane:
    """The AccessPlane of a project. `rest` asks what the client has no method for; `location` is the datasets'."""

    def __init__(self, client: "bigquery.Client", rest: Rest, location: str, endpoint: str = ENDPOINT) -> None:
        from google.cloud.bigquery.retry import DEFAULT_RETRY

        self._client = client
        self._rest = rest
        self._base = f"{endpoint}/bigquery/v2/projects/{client.project}/datasets"
        self._tags = PolicyTags(rest, f"projects/{client.project}/locations/{location.lower()}")
        self._terms: dict[str, Any] = {"timeout": _ONCE, "retry": DEFAULT_RETRY.with_timeout(_IN_ALL)}

    def run(self, statement: str) -> None:
        with _told("running a statement"):
            self._rows(statement)

    def dataset(self, dataset: str) -> DatasetAccess | None:
        from google.api_core.exceptions import NotFound

        with _told(f"reading the dataset {dataset}"):
            try:
                found = self._client.get_dataset(dataset, **self._terms)
            except NotFound:
                return None
        entries = found.access_entries
        readers = frozenset(_principal(entry) for entry in entries if entry.role in _READER)
        return DatasetAccess(readers - {""}, frozenset(self._view(entry) for entry in entries if _is_view(entry)))

    def change_dataset(self, dataset: str, add: DatasetAccess, remove: DatasetAccess) -> None:
        with _told(f"changing who reads the dataset {dataset}"):
            found = self._client.get_dataset(dataset, **self._terms)
            kept = [entry for entry in found.access_entries if not self._is_among(entry, remove)]
            new = [*map(_reader_entry, sorted(add.readers)), *(self._view_entry(view) for view in sorted(add.views))]
            found.access_entries = [*kept, *new]
            # The dataset's etag goes along: a change by somebody else in between is refused, not overwritten.
            self._client.update_dataset(found, ["access_entries"], **self._terms)

    def names(self, dataset: str) -> frozenset[str]:
        with _told(f"listing the tables of {dataset}"):
            return frozenset(table.table_id for table in self._client.list_tables(dataset, **self._terms))

    def readers(self, dataset: str, name: str) -> frozenset[str]:
        from google.api_core.exceptions import NotFound

        with _told(f"reading the grants of {dataset}.{name}"):
            try:
                held = self._client.get_iam_policy(f"{self._client.project}.{dataset}.{name}", **self._terms)
            except NotFound:  # what a sync stages is gone in a moment
                return frozenset()
        return _members(held.bindings, VIEWER)

    def row_policies(self, dataset: str, table: str) -> Mapping[str, RowPolicyThere]:
        address = f"{self._base}/{dataset}/tables/{table}/rowAccessPolicies"
        found: dict[str, RowPolicyThere] = {}
        for policy in self._rest.pages(address, "rowAccessPolicies"):
            name = policy["rowAccessPolicyReference"]["policyId"]
            # Who it is for is told as the policy's IAM alone.
            held = self._rest.post(f"{address}/{name}:getIamPolicy", {})
            found[name] = RowPolicyThere(policy["filterPredicate"], _members(held.get("bindings", ()), FILTERED_VIEWER))
        return found

    def view_texts(self, dataset: str) -> Mapping[str, str]:
        views = f"`{self._client.project}.{dataset}.INFORMATION_SCHEMA.VIEWS`"
        with _told(f"reading the views of {dataset}"):
            rows = self._rows(f"select table_name, view_definition from {views}")
            return {str(row["table_name"]): str(row["view_definition"]) for row in rows}

    def tags(self, taxonomy: str) -> Mapping[str, TagThere]:
        return self._tags.read(taxonomy)

    def column_tags(self, taxonomy: str, dataset: str, table: str) -> Mapping[str, str]:
        with _told(f"reading the columns of {dataset}.{table}"):
            schema = self._client.get_table(f"{self._client.project}.{dataset}.{table}", **self._terms).schema
        tagged = {str(field.name): str(field.policy_tags.names[0]) for field in schema if field.policy_tags}
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
        with _told(f"tagging columns of {dataset}.{table}"):
            found = self._client.get_table(f"{self._client.project}.{dataset}.{table}", **self._terms)
            schema: list[bigquery.SchemaField] = []
            for field in found.schema:
                api = field.to_api_repr()
                if field.name in tags:
                    tag = tags[field.name]
                    api["policyTags"] = {"names": [resources[tag]] if tag else []}
                schema.append(bigquery.SchemaField.from_api_repr(api))
            found.schema = schema
            self._client.update_table(found, ["schema"], **self._terms)

    def _rows(self, sql: str) -> list[Mapping[str, object]]:
        # A job's own retry is another ten minutes.
        job = self._client.query(sql, job_retry=None, **self._terms)
        return [dict(row) for row in job.result(job_retry=None, **self._terms)]

    def _view(self, entry: "bigquery.AccessEntry") -> tuple[str, str]:
        """(dataset, view); another project's dataset keeps its project."""
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


def open_plane(place: Place) -> GoogleAccessPlane:
    """The plane of a place, with the caller's own Google credentials; an emulator is asked without.

    Raises WarehouseError.
    """
    client = open_client(place)
    rest = Rest(_signing_session if place.endpoint is None else requests.Session)
    return GoogleAccessPlane(client, rest, place.location, place.endpoint or ENDPOINT)


def _signing_session() -> requests.Session:
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    with _told("signing in"):
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    return AuthorizedSession(credentials)


def _is_view(entry: "bigquery.AccessEntry") -> bool:
    return entry.entity_type == "view"


def _principal(entry: "bigquery.AccessEntry") -> str:
    """The entry's principal as IAM writes it; empty for what is none."""
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
    return frozenset(_lower(member) for held in bindings if held["role"] == role for member in held.get("members", ()))


def _lower(member: str) -> str:
    kind, colon, who = member.partition(":")
    return f"{kind}{colon}{who.lower()}"


@contextmanager
def _told(doing: str) -> Generator[None]:
    """Google's errors as WarehouseErrors, in a sentence with the mend."""
    from google.api_core.exceptions import GoogleAPIError, RetryError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except RetryError as error:
        why = f" ({type(error.cause).__name__})" if error.cause else ""
        raise WarehouseError(
            f"{doing}: nothing answered{why}; is the network there, and AI_AUDIT_BIGQUERY_ENDPOINT right or unset?"
        ) from None
    except GoogleAuthError as error:
        raise WarehouseError(f"{doing}: {mended(_one_line(error), 401)}") from None
    except (GoogleAPIError, requests.RequestException) as error:
        raise WarehouseError(f"{doing}: {mended(_one_line(error), getattr(error, 'code', None))}") from None


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(getattr(error, "message", "") or error))
