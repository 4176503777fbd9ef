"""The sync policy: observability/sync.yaml as a frozen value, with the names of tables, columns, keys and statuses."""

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from audit_assets.config.json_values import is_object
from audit_assets.config.validation import Duration, FrozenModel, InvalidFileError, Timezone, parse_model
from audit_assets.warehouse.bigquery.client import BigQueryOptions

# A quoted part, in which "" is a quote; or characters other than dots, in which \. is a dot and \\ a backslash.
_QUOTED = r'"(?:[^"]|"")+"'
_PLAIN = r'(?!")(?:[^.\\]|\\[.\\])+'
_PART = re.compile(f"(?:{_QUOTED}|{_PLAIN})(?=[.]|$)")


def parts_of(name: str) -> tuple[str, ...]:
    """The parts between the dots of `name`: a.b is two, a\\.b and "a.b" are one. Raises ValueError."""
    parts: list[str] = []
    at = 0
    while True:
        found = _PART.match(name, at)
        if found is None:
            raise ValueError(
                f"{name!r} has an empty part, or a misplaced quote or backslash; "
                'dots separate the parts of a name, and a dot within a part is written "a.b" or a\\.b'
            )
        text = found[0]
        parts.append(text[1:-1].replace('""', '"') if text.startswith('"') else re.sub(r"\\([.\\])", r"\1", text))
        at = found.end() + 1
        if at > len(name):
            return tuple(parts)


def _key(name: str) -> str:
    parts_of(name)
    return name


def _table(name: str) -> str:
    if len(parts_of(name)) > 2:
        raise ValueError(f'{name!r} has more than a schema and a table; quote a name with dots in it: schema."a.b"')
    return name


Key = Annotated[str, AfterValidator(_key)]
TableName = Annotated[str, AfterValidator(_table)]


StatusClass = Literal["success", "error", "unknown"]
CLASSES: tuple[StatusClass, ...] = ("success", "error", "unknown")

_DEFAULTS: dict[StatusClass, tuple[str, ...]] = {
    "success": (
        *(
            "success",
            "succeeded",
            "successful",
            "ok",
            "okay",
            "true",
            "complete",
            "completed",
            "done",
            "finished",
            "2xx",
        ),
        # Stop reasons of a model that answered.
        *("stop", "stop_sequence", "end_turn", "eos", "eos_token", "length", "max_tokens", "max_output_tokens"),
        *("tool_call", "tool_calls", "tool_use", "function_call"),
    ),
    "error": (
        *("error", "errored", "fail", "failed", "failure", "false", "exception", "fault", "crashed", "4xx", "5xx"),
        *("timeout", "timed_out", "deadline_exceeded", "cancelled", "canceled", "aborted", "expired", "incomplete"),
        *("rate_limit", "rate_limited", "rate_limit_exceeded", "throttled", "too_many_requests", "overloaded"),
        *("quota_exceeded", "insufficient_quota", "resource_exhausted"),
        *("unavailable", "service_unavailable", "bad_gateway", "gateway_timeout"),
        *("rejected", "denied", "forbidden", "unauthorized", "unauthenticated", "permission_denied", "not_found"),
        *("invalid", "invalid_request", "invalid_argument", "bad_request", "failed_precondition", "out_of_range"),
        *("unimplemented", "internal", "internal_error", "server_error", "internal_server_error", "data_loss"),
        # Stop reasons of a model that was not allowed to answer.
        *("content_filter", "content_filtered", "safety", "blocked", "refusal", "refused"),
    ),
    "unknown": (
        *("unknown", "pending", "processing", "in_progress", "running", "queued", "started", "created", "submitted"),
        *("scheduled", "waiting", "streaming", "pause_turn", "none", "null", "n/a", "1xx", "3xx"),
    ),
}

# Ignored when words are compared: rate_limited, rate-limited and Rate Limited are the same word.
_SEPARATORS = re.compile("[ _-]+")


def _compared(word: Any) -> str:
    """The word in the form used for comparison; YAML reads 200, true and null as other types. Raises ValueError."""
    text = "null" if word is None else str(word)
    found = _SEPARATORS.sub("", text.strip().lower())
    if not found or not found.isprintable() or "'" in found or "\\" in found:
        raise ValueError(f"{text!r} is not a status; write letters, digits and signs other than ' and \\")
    return found


Words = tuple[Annotated[str, BeforeValidator(_compared)], ...]


class Statuses(FrozenModel):
    """The words of each class, compared without case, spaces, `_` and `-`.

    `4xx` stands for the HTTP codes 400 to 499; a code that is listed itself takes precedence. A word in no list has the
    class unknown, and the check `status_words_are_listed` reports it. A class that is left out has its default words,
    without those that another class lists.
    """

    model_config = ConfigDict(validate_default=True)

    success: Words = Field(default=_DEFAULTS["success"])
    error: Words = Field(default=_DEFAULTS["error"])
    unknown: Words = Field(default=_DEFAULTS["unknown"])

    @model_validator(mode="before")
    @classmethod
    def _defaults_give_way(cls, given: Any) -> Any:
        if not is_object(given) or not all(isinstance(words, list | tuple) for words in given.values()):
            return given
        listed = {_compared(word) for words in given.values() for word in words}
        kept = {
            name: [word for word in words if _compared(word) not in listed]
            for name, words in _DEFAULTS.items()
            if name not in given
        }
        return {**given, **kept}

    @model_validator(mode="after")
    def _each_word_has_one_class(self) -> "Statuses":
        classes: dict[str, StatusClass] = {}
        for name in CLASSES:
            for word in self.words(name):
                if classes.setdefault(word, name) != name:
                    raise ValueError(f"{word!r} is listed under {classes[word]} and {name}; remove it from one of them")
        return self

    def words(self, name: StatusClass) -> tuple[str, ...]:
        """The words of one class, in the form used for comparison."""
        return {"success": self.success, "error": self.error, "unknown": self.unknown}[name]

    def environment(self) -> dict[str, str]:
        """The environment variable that dbt/macros/statuses.sql reads."""
        return {"AI_AUDIT_STATUSES": json.dumps({name: self.words(name) for name in CLASSES})}

    def sql_list(self, name: StatusClass) -> str:
        """The words of one class as SQL literals. No word contains a quote."""
        return ", ".join(f"'{word}'" for word in self.words(name)) or "null"


class PolicyError(Exception):
    """An invalid sync policy. The message names the file, the field and the fix."""


class Columns(FrozenModel):
    """The customer's column names. The first column of `status` that exists takes precedence over the JSON."""

    id: str = "id"
    workflow_id: str = "workflow_id"
    capability: str = "capability"
    provider: str = "provider"
    created_at: str = "created_at"
    request_metadata: str = "request_metadata"
    response_metadata: str = "response_metadata"
    status: tuple[str, ...] = ("status", "response_status")


class RequestKeys(FrozenModel):
    prompt: Key = "prompt"
    messages: Key = "messages"
    source_documents: Key = "sourceDocuments"
    snapshot_id: Key = "snapshotId"
    drill_id: Key = "drillId"


class ResponseKeys(FrozenModel):
    status: Key = "status"
    error: Key = "error"
    duration_ms: Key = "durationMs"
    model: Key = "model"
    model_parameters: Key = "modelParameters"
    completion_id: Key = "completionId"
    completion_tokens: Key = "completionTokens"


class EitherKeys(FrozenModel):
    prompt_tokens: Key = "promptTokens"


class WorkspaceColumns(FrozenModel):
    id: str = "id"
    name: str = "name"
    team: str = "team"
    owner: str = "owner"
    last_accessed_at: str = "last_accessed_at"


class WorkspaceNames(FrozenModel):
    table: TableName = "workflows"
    columns: WorkspaceColumns = WorkspaceColumns()


class SourceNames(FrozenModel):
    """The source's names, and how long a sync waits for it."""

    statement_timeout: Duration = timedelta(minutes=10)
    lock_timeout: Duration = timedelta(seconds=10)
    stall_timeout: Duration = timedelta(minutes=1)
    retries: int = Field(default=4, ge=0, le=20)
    table: TableName = "ai_audit_logs"
    columns: Columns = Columns()
    request_keys: RequestKeys = RequestKeys()
    response_keys: ResponseKeys = ResponseKeys()
    either_keys: EitherKeys = EitherKeys()
    statuses: Statuses = Statuses()
    workspaces: WorkspaceNames = WorkspaceNames()
    retention: Duration | None = None  # how long the source keeps its rows; None: forever


class Cadence(FrozenModel):
    poll: Duration = timedelta(seconds=50)
    heartbeat: Duration = timedelta(minutes=2)


class Repair(FrozenModel):
    minimum_lookback: Duration = timedelta(hours=24)
    horizon: Duration = timedelta(days=35)
    compare: Literal["values", "counts"] = "values"
    timezone: Timezone = "America/Los_Angeles"
    hour: int = Field(default=2, ge=0, le=23)


class Removal(FrozenModel):
    """The limits beyond which the removal of rows that are missing at the source is held. `max_share` applies to the
    rows of one UTC day, `max_rows` to one sync; up to `min_rows` per sync are removed unless nothing is left."""

    max_share: float = Field(default=0.1, gt=0, le=1)
    max_rows: int = Field(default=1000, ge=0)
    min_rows: int = Field(default=10, ge=0)


class Upkeep(FrozenModel):
    keep_micro_batches: Duration = timedelta(hours=6)
    keep_sync_rows: Duration = timedelta(days=30)


class BigQuery(BigQueryOptions):
    """The options of BigQuery, with durations as YAML writes them."""

    keep_raw: Duration | None = None
    keep_staging: Duration = timedelta(hours=6)
    every: Duration = timedelta(minutes=2)


class SyncPolicy(FrozenModel):
    """When and how much to read, what to reject, and the source's names."""

    first_day: date = date(2023, 1, 1)
    lookback: Duration = timedelta(minutes=15)
    future_tolerance: Duration = timedelta(minutes=10)
    clock_tolerance: Duration = timedelta(seconds=30)
    naive_timezone: Timezone | None = None
    cadence: Cadence = Cadence()
    repair: Repair = Repair()
    removal: Removal = Removal()
    upkeep: Upkeep = Upkeep()
    freshness: Duration = timedelta(minutes=5)
    bigquery: BigQuery = BigQuery()
    source: SourceNames = SourceNames()


def read_policy(path: Path) -> SyncPolicy:
    """The policy in `path`. Raises PolicyError naming file, line, field and fix."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise PolicyError(f"{path}: no such file; set AI_AUDIT_SYNC_POLICY to the sync policy's path") from None
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}; AI_AUDIT_SYNC_POLICY names the file") from None
    try:
        return parse_model(path.name, content, SyncPolicy)[0]
    except InvalidFileError as error:
        raise PolicyError(str(error)) from None
