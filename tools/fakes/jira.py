"""The part of Jira's REST API that the project uses: issues, comments and search, for Cloud and Data Center.

Responses follow https://developer.atlassian.com/cloud/jira/platform/rest/v2/ and errors quoted in public issues.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from audit_assets.config.json_values import is_object
from tools.fakes.answering import Reply
from tools.fakes.asked import Request
from tools.fakes.reading import Effect

ISSUES, CLOUD_SEARCH, SEARCH = "/rest/api/2/issue", "/rest/api/3/search/jql", "/rest/api/2/search"
LONGEST_SUMMARY, LONGEST_TEXT = 255, 32767
_GONE = "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API."
_COMMENTS = re.compile(rf"{ISSUES}/([\w-]+)/comment")


@dataclass
class FakeJira:
    """Cloud with an `email` and its token; Data Center with a token only. Search finds nothing while `index_lags`."""

    token: str | None = None
    email: str | None = None
    projects: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"AUDIT": ("Task", "Bug")})
    bad_token: bool = False
    index_lags: bool = False
    required: tuple[str, ...] = ()  # fields that every issue must have

    @property
    def is_cloud(self) -> bool:
        return self.email is not None

    def answer(self, path: str, request: Request, effects: Iterable[Effect]) -> Reply:
        """The reply to one call below Jira's base URL; `effects` are the effects so far."""
        given = request.basic if self.is_cloud else request.bearer
        wanted = f"{self.email}:{self.token}" if self.is_cloud else self.token
        if self.bad_token or given is None or (self.token is not None and given != wanted):
            return Reply(401, "Client must be authenticated to access this resource.")
        issues = {effect["key"]: effect for effect in effects if effect["kind"] == "issue"}
        if request.method == "POST" and path in (CLOUD_SEARCH, SEARCH):
            return self._found(path, request.body, issues)
        commented = _COMMENTS.fullmatch(path)
        if commented is not None and commented[1] not in issues:
            return Reply(404, _errors("Issue does not exist or you do not have permission to see it."))
        if commented is not None and request.method == "GET":
            comments = [effect for effect in effects if effect["kind"] == "comment" and effect["key"] == commented[1]]
            bodies = [{"body": comment["body"]} for comment in reversed(comments)]
            return Reply(200, {"comments": bodies, "total": len(comments)})
        if commented is not None and request.method == "POST":
            return self._comment(commented[1], request.body)
        return (
            self._create(request.body, issues)
            if (request.method, path) == ("POST", ISSUES)
            else Reply(404, "Not Found")
        )

    def _create(self, body: Any, issues: dict[str, Effect]) -> Reply:
        fields: dict[str, Any] = body.get("fields", {}) if is_object(body) else {}
        field_errors = dict(self._field_errors(fields))
        if field_errors:
            return Reply(400, _errors(**field_errors))
        key = f"{fields['project']['key']}-{len(issues) + 1}"
        effect = {"kind": "issue", "at": time.time(), "key": key, "fields": fields}
        return Reply(201, {"id": str(10000 + len(issues)), "key": key}, effects=(effect,))

    def _field_errors(self, fields: dict[str, Any]) -> Iterable[tuple[str, str]]:
        kinds = self.projects.get(fields.get("project", {}).get("key", ""))
        if kinds is None:
            yield "project", "valid project is required"
        elif fields.get("issuetype", {}).get("name") not in kinds:
            yield "issuetype", "The issue type selected is invalid."
        summary = fields.get("summary") or ""
        if not summary.strip():
            yield "summary", "You must specify a summary of the issue."
        elif len(summary) > LONGEST_SUMMARY:
            yield "summary", f"Summary can't exceed {LONGEST_SUMMARY} characters."
        elif "\n" in summary:
            yield "summary", "The summary is invalid because it contains newline characters."
        if len(fields.get("description", "")) > LONGEST_TEXT:
            yield "description", f"The entered text is too long. It exceeds the allowed limit of {LONGEST_TEXT}."
        if any(" " in label for label in fields.get("labels", [])):
            yield "labels", "The label contains spaces which is invalid."
        for name in self.required:
            if name not in fields:
                yield name, f"{name} is required."

    def _comment(self, key: str, body: Any) -> Reply:
        text = body.get("body") if is_object(body) else None
        if not isinstance(text, str) or not text.strip():
            return Reply(400, _errors(comment="Comment body can not be empty!"))
        effect = {"kind": "comment", "at": time.time(), "key": key, "body": text}
        return Reply(201, {"id": "1", "body": text}, effects=(effect,))

    def _found(self, path: str, body: Any, issues: dict[str, Effect]) -> Reply:
        if self.is_cloud and path == SEARCH:
            return Reply(410, _errors(_GONE))
        if not self.is_cloud and path == CLOUD_SEARCH:
            return Reply(404, "Not Found")
        query = re.fullmatch(r'project = "(\w+)" AND labels = "([\w-]+)"', body["jql"])
        if query is None:
            return Reply(400, _errors("Error in the JQL Query."))
        found = [] if self.index_lags else [
            {"id": "1", "key": key, "fields": {"labels": issue["fields"].get("labels", [])}}
            for key, issue in issues.items()
            if key.startswith(f"{query[1]}-") and query[2] in issue["fields"].get("labels", [])
        ]  # fmt: skip
        return Reply(200, {"issues": found, "isLast": True})


def _errors(*messages: str, **fields: str) -> dict[str, Any]:
    return {"errorMessages": list(messages), "errors": fields}
