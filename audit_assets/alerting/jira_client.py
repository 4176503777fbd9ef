"""JIRA's REST API as four calls: file an issue, comment it, and look whether either is there.

Cloud and Data Center take the same issues and comments (version 2, plain text in wiki markup). They differ in who asks
(Cloud: an email and its token; Data Center: a personal token alone) and in where issues are searched, since Cloud
removed `/rest/api/2/search` in 2025 (CHANGE-2046) and Data Center knows nothing else.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

from pydantic import SecretStr

from audit_assets.alerting.http_answer import Answer, is_success, json_object, kind_of_status, retry_after, short_line
from audit_assets.alerting.http_request import Body, fetched, posted
from audit_assets.alerting.outcome import Outcome

# Cloud's search knows a new issue after seconds, sometimes minutes; looked for sooner, it would be filed again.
SEARCH_LAGS = timedelta(minutes=2)
_CLOUD_SEARCH, _SEARCH = "/rest/api/3/search/jql", "/rest/api/2/search"
_COMMENTS = 100  # the newest, among which ours is looked for

# What is wrong with these is wrong with what we wrote; with any other field, with how the project is set up.
_OURS = frozenset({"summary", "description", "comment"})


@dataclass(frozen=True, slots=True)
class Issue:
    """A new issue. `label` is made of its delivery: by it the issue is found again."""

    project: str
    kind: str
    summary: str
    description: str
    label: str


@dataclass(frozen=True, slots=True)
class JiraClient:
    """Speaks as one user, within `timeout` seconds a call. With an `email` it is Cloud's. Neither shown nor told: the
    token."""

    token: SecretStr
    base_url: str
    email: str = ""
    timeout: float = 8.0  # two searches and a create, each slow to connect and to answer, are over within a lease

    def create(self, issue: Issue) -> Outcome:
        """Files `issue`; `sent` refers to its key (`AUDIT-12`).

        JIRA knows no idempotency key: after `uncertain` it is to be looked for with `find`, not before `retry_after`.
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
        """Adds `text` to the issue `key`. After `uncertain` it is to be looked for with `find_comment`."""
        outcome = self._write(f"/rest/api/2/issue/{quote(key, safe='')}/comment", {"body": text})
        return _gone(outcome)

    def find(self, project: str, label: str) -> Outcome | None:
        """The issue with that label as `sent`; None where there is none. Nothing is `uncertain`."""
        question = {"jql": f'project = "{project}" AND labels = "{label}"', "maxResults": 1, "fields": ["labels"]}
        first, second = (_CLOUD_SEARCH, _SEARCH) if self.email else (_SEARCH, _CLOUD_SEARCH)
        answer = self._posted(first, question)
        if isinstance(answer, Answer) and answer.status in (404, 410):  # it is the other kind of JIRA
            answer = self._posted(second, question)
        found = self._read(answer)
        if isinstance(found, Outcome):
            return found
        issues = _objects(found.get("issues"))
        key = (issues[0].get("key") or issues[0].get("id")) if issues else None
        return Outcome("sent", "found", reference=str(key)) if key else None

    def find_comment(self, key: str, mark: str) -> Outcome | None:
        """The comment of the issue `key` whose text holds `mark`, as `sent`; None where there is none."""
        asked = f"/rest/api/2/issue/{quote(key, safe='')}/comment?orderBy=-created&maxResults={_COMMENTS}"
        found = self._read(fetched(f"{self.base_url}{asked}", self._headers, self.timeout))
        if isinstance(found, Outcome):
            return _gone(found)
        here = any(mark in str(one.get("body", "")) for one in _objects(found.get("comments")))
        return Outcome("sent", "found", reference=key) if here else None

    def _write(self, path: str, document: Mapping[str, Any]) -> Outcome:
        answer = self._posted(path, document)
        if isinstance(answer, Outcome):
            return answer
        if not is_success(answer.status):
            failure = self._failure(answer)
            # Some of it may be done, as an issue that is there before its index is.
            return replace(failure, kind="uncertain") if answer.status >= 500 else failure
        written = json_object(answer.text) or {}
        reference = written.get("key") or written.get("id")
        if not reference:
            return Outcome("uncertain", short_line(f"{answer.status} without a key: {answer.text}", self._secrets))
        return Outcome("sent", f"{answer.status} {reference}", reference=str(reference))

    def _posted(self, path: str, document: Mapping[str, Any]) -> Answer | Outcome:
        body = Body(json.dumps(document, allow_nan=False).encode(), "application/json")
        return posted(f"{self.base_url}{path}", body, self._headers, self.timeout)

    def _read(self, answer: Answer | Outcome) -> dict[str, Any] | Outcome:
        if isinstance(answer, Outcome):
            return Outcome("retry", answer.said) if answer.kind == "uncertain" else answer
        document = json_object(answer.text)
        if not is_success(answer.status):
            return self._failure(answer)
        if document is None:
            return Outcome("retry", short_line(f"{answer.status} {answer.text}", self._secrets))
        return document

    def _failure(self, answer: Answer) -> Outcome:
        document = json_object(answer.text)
        kind = kind_of_status(answer.status)
        if kind == "refused" and document is not None and _is_about_the_project(document):
            kind = "parked"
        wait = retry_after(answer.retry_after, datetime.now(UTC)) if kind == "retry" else None
        return Outcome(kind, short_line(f"{answer.status} {_words(document, answer.text)}", self._secrets), None, wait)

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


def _gone(outcome: Outcome) -> Outcome:
    """An issue that somebody deleted or hid is no reason to keep all others waiting."""
    return replace(outcome, kind="refused") if outcome.said.startswith("404 ") else outcome


def _is_about_the_project(document: Mapping[str, Any]) -> bool:
    """Whether JIRA names a field that a person sets up: the project, its issue types, a field that it asks for."""
    errors = document.get("errors")
    return isinstance(errors, dict) and bool(set(cast("dict[str, Any]", errors)) - _OURS)


def _words(document: Mapping[str, Any] | None, text: str) -> str:
    """JIRA's own words: its messages, and its fields with what is wrong with each."""
    if document is None:
        return text
    messages, errors = document.get("errorMessages"), document.get("errors")
    said = [str(one) for one in cast("list[Any]", messages)] if isinstance(messages, list) else []
    if isinstance(errors, dict):
        said += [f"{name}: {what}" for name, what in cast("dict[str, Any]", errors).items()]
    return "; ".join(said) or str(document.get("message") or text)


def _objects(value: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
