"""Jira's REST API as four calls: file an issue, comment on it, and find either of them.

Cloud and Data Center accept the same issues and comments (version 2, plain text in wiki markup). They differ in
authentication (Cloud: email and API token; Data Center: personal access token) and in the search endpoint: Cloud
removed `/rest/api/2/search` in 2025 (CHANGE-2046), and Data Center has only that one.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from audit_assets.alerting.channels.http_client import (
    Body,
    HttpResponse,
    classify_status,
    http_get,
    http_post,
    is_success,
    json_object,
    one_line,
)
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.config.json_values import is_list, is_object, objects_of

# Cloud's search finds a new issue after seconds, sometimes minutes. Searching sooner would file it again.
SEARCH_LAGS = timedelta(minutes=2)
_CLOUD_SEARCH, _SEARCH = "/rest/api/3/search/jql", "/rest/api/2/search"
_COMMENTS = 100  # the newest comments, which `find_comment` searches

# An error in one of these fields is an error in our content; in any other field, in the configuration of the project.
_OUR_FIELDS = frozenset({"summary", "description", "comment"})


@dataclass(frozen=True, slots=True)
class Issue:
    """A new issue. `label` is derived from the delivery id, and the issue is found again by it."""

    project: str
    kind: str
    summary: str
    description: str
    label: str


@dataclass(frozen=True, slots=True)
class JiraClient:
    """A client for one user, with `timeout` seconds per call. With an `email` it is for Cloud. The token never appears
    in a repr or an outcome."""

    token: SecretStr
    base_url: str
    email: str = ""
    timeout: float = 8.0  # two slow searches and a slow create end within a lease

    def create(self, issue: Issue) -> Outcome:
        """Files `issue`; the reference of `sent` is its key (`AUDIT-12`).

        Jira has no idempotency keys: after `uncertain`, look for the issue with `find`, not before `retry_after`.
        """
        fields = {
            "project": {"key": issue.project},
            "issuetype": {"name": issue.kind},
            "summary": issue.summary,
            "description": issue.description,
            "labels": [issue.label],
        }
        outcome = self._write("/rest/api/2/issue", {"fields": fields})
        if outcome.kind == "uncertain":
            return replace(outcome, retry_after=max(outcome.retry_after or SEARCH_LAGS, SEARCH_LAGS))
        return outcome

    def comment(self, key: str, text: str) -> Outcome:
        """Adds a comment with `text` to the issue `key`. After `uncertain`, look for it with `find_comment`."""
        outcome = self._write(f"/rest/api/2/issue/{quote(key, safe='')}/comment", {"body": text})
        return _missing_issue(outcome)

    def find(self, project: str, label: str) -> Outcome | None:
        """The issue with that label as `sent`; None if there is none. The outcome is never `uncertain`."""
        query = {"jql": f'project = "{project}" AND labels = "{label}"', "maxResults": 1, "fields": ["labels"]}
        first, second = (_CLOUD_SEARCH, _SEARCH) if self.email else (_SEARCH, _CLOUD_SEARCH)
        response = self._post(first, query)
        if isinstance(response, HttpResponse) and response.status in (404, 410):  # it is the other edition of Jira
            response = self._post(second, query)
        found = self._read(response)
        if isinstance(found, Outcome):
            return found
        issues = objects_of(found.get("issues"))
        key = (issues[0].get("key") or issues[0].get("id")) if issues else None
        return Outcome("sent", "found", reference=str(key)) if key else None

    def find_comment(self, key: str, mark: str) -> Outcome | None:
        """The comment of the issue `key` whose text contains `mark`, as `sent`; None if there is none."""
        path = f"/rest/api/2/issue/{quote(key, safe='')}/comment?orderBy=-created&maxResults={_COMMENTS}"
        found = self._read(http_get(f"{self.base_url}{path}", self._headers, self.timeout))
        if isinstance(found, Outcome):
            return _missing_issue(found)
        here = any(mark in str(one.get("body", "")) for one in objects_of(found.get("comments")))
        return Outcome("sent", "found", reference=key) if here else None

    def _write(self, path: str, document: Mapping[str, Any]) -> Outcome:
        response = self._post(path, document)
        if isinstance(response, Outcome):
            return response
        if not is_success(response.status):
            failure = self._failure(response)
            # The call may have been partly executed: an issue can exist before it is indexed.
            return replace(failure, kind="uncertain") if response.status >= 500 else failure
        written = json_object(response.text) or {}
        reference = written.get("key") or written.get("id")
        if not reference:
            return Outcome("uncertain", one_line(f"{response.status} without a key: {response.text}", self._secrets))
        return Outcome("sent", f"{response.status} {reference}", reference=str(reference))

    def _post(self, path: str, document: Mapping[str, Any]) -> HttpResponse | Outcome:
        body = Body(json.dumps(document, allow_nan=False).encode(), "application/json")
        return http_post(f"{self.base_url}{path}", body, self._headers, self.timeout)

    def _read(self, response: HttpResponse | Outcome) -> dict[str, Any] | Outcome:
        if isinstance(response, Outcome):
            return Outcome("retry", response.detail) if response.kind == "uncertain" else response
        document = json_object(response.text)
        if not is_success(response.status):
            return self._failure(response)
        if document is None:
            return Outcome("retry", one_line(f"{response.status} {response.text}", self._secrets))
        return document

    def _failure(self, response: HttpResponse) -> Outcome:
        document = json_object(response.text)
        kind = classify_status(response.status)
        if kind == "refused" and document is not None and _is_about_the_project(document):
            kind = "parked"
        wait = response.wait if kind == "retry" else None
        return Outcome(
            kind, one_line(f"{response.status} {_error_text(document, response.text)}", self._secrets), None, wait
        )

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._authorization, "Accept": "application/json"}

    @property
    def _authorization(self) -> str:
        token = self.token.get_secret_value().strip()
        return f"Basic {b64encode(f'{self.email}:{token}'.encode()).decode()}" if self.email else f"Bearer {token}"

    @property
    def _secrets(self) -> list[str]:
        return [self.token.get_secret_value().strip(), self._authorization.partition(" ")[2]]


def _missing_issue(outcome: Outcome) -> Outcome:
    """Changes 404 from `parked` to `refused`: a deleted or hidden issue must not block the other tickets."""
    return replace(outcome, kind="refused") if outcome.detail.startswith("404 ") else outcome


def _is_about_the_project(document: Mapping[str, Any]) -> bool:
    """Whether the error names a field of the project's configuration: the project, an issue type, a required field."""
    errors = document.get("errors")
    return is_object(errors) and bool(set(errors) - _OUR_FIELDS)


def _error_text(document: Mapping[str, Any] | None, text: str) -> str:
    """Jira's error messages, and its field errors."""
    if document is None:
        return text
    messages, errors = document.get("errorMessages"), document.get("errors")
    parts = [str(message) for message in messages] if is_list(messages) else []
    if is_object(errors):
        parts += [f"{name}: {error}" for name, error in errors.items()]
    return "; ".join(parts) or str(document.get("message") or text)
