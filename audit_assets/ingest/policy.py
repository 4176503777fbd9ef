"""How rows are brought in, as judged by people: the frozen form of observability/sync.yaml."""

from datetime import date, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit_assets.rules.document import DocumentError, read_document
from audit_assets.rules.durations import Duration, Timezone
from audit_assets.rules.spelling import did_you_mean
from audit_assets.warehouse.bigquery.terms import BigQueryTerms


class PolicyError(Exception):
    """A sync policy that cannot be used. The message names the file, the field and the mend."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(_Frozen):
    """The customer's column names. `status` names columns of which the first that exists wins over the JSON."""

    id: str = "id"
    workflow_id: str = "workflow_id"
    capability: str = "capability"
    provider: str = "provider"
    created_at: str = "created_at"
    request_metadata: str = "request_metadata"
    response_metadata: str = "response_metadata"
    status: tuple[str, ...] = ("status", "response_status")


class RequestKeys(_Frozen):
    prompt: str = "prompt"
    messages: str = "messages"
    source_documents: str = "sourceDocuments"
    snapshot_id: str = "snapshotId"
    drill_id: str = "drillId"


class ResponseKeys(_Frozen):
    status: str = "status"
    error: str = "error"
    duration_ms: str = "durationMs"
    model: str = "model"
    model_parameters: str = "modelParameters"
    completion_id: str = "completionId"
    completion_tokens: str = "completionTokens"


class EitherKeys(_Frozen):
    prompt_tokens: str = "promptTokens"


class WorkspaceColumns(_Frozen):
    id: str = "id"
    name: str = "name"
    team: str = "team"
    owner: str = "owner"
    last_accessed_at: str = "last_accessed_at"


class WorkspaceNames(_Frozen):
    table: str = "workflows"
    columns: WorkspaceColumns = WorkspaceColumns()


class SourceNames(_Frozen):
    table: str = "ai_audit_logs"
    columns: Columns = Columns()
    request_keys: RequestKeys = RequestKeys()
    response_keys: ResponseKeys = ResponseKeys()
    either_keys: EitherKeys = EitherKeys()
    workspaces: WorkspaceNames = WorkspaceNames()


class Cadence(_Frozen):
    poll: Duration = timedelta(seconds=50)
    heartbeat: Duration = timedelta(minutes=2)


class Repair(_Frozen):
    minimum_lookback: Duration = timedelta(hours=24)
    timezone: Timezone = "America/Los_Angeles"
    hour: int = Field(default=2, ge=0, le=23)


class Upkeep(_Frozen):
    keep_micro_batches: Duration = timedelta(hours=6)
    keep_sync_rows: Duration = timedelta(days=30)


class BigQuery(BigQueryTerms):
    """The warehouse's terms, with lengths of time as people write them."""

    keep_raw: Duration | None = None
    keep_staging: Duration = timedelta(hours=6)
    every: Duration = timedelta(minutes=2)


class SyncPolicy(_Frozen):
    """When and how much to read, what to refuse, and what the source calls things."""

    first_day: date = date(2023, 1, 1)
    lookback: Duration = timedelta(minutes=15)
    future_tolerance: Duration = timedelta(minutes=10)
    naive_timezone: Timezone | None = None
    cadence: Cadence = Cadence()
    repair: Repair = Repair()
    upkeep: Upkeep = Upkeep()
    freshness: Duration = timedelta(minutes=5)
    bigquery: BigQuery = BigQuery()
    source: SourceNames = SourceNames()


def read_policy(path: Path) -> SyncPolicy:
    """The policy in `path`. Raises PolicyError naming file, line, field and mend."""
    try:
        document = read_document(path.read_bytes())
    except FileNotFoundError:
        raise PolicyError(f"{path}: no such file; AI_AUDIT_SYNC_POLICY says where the sync policy is") from None
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}; AI_AUDIT_SYNC_POLICY names the file") from None
    except DocumentError as error:
        raise PolicyError(f"{path.name}:{error.line}: {error.field or 'the file'}: {error.message}") from None
    try:
        return SyncPolicy.model_validate(document.values)
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"]
        field = ".".join(str(part) for part in place) or "the file"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"unknown field{did_you_mean(str(place[-1]), _fields_at(place[:-1]))}"
        raise PolicyError(f"{path.name}:{document.line(place)}: {field}: {message}") from None


def _fields_at(place: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = SyncPolicy
    for part in place:
        inner = model.model_fields[str(part)].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)  # only models forbid fields
        model = inner
    return list(model.model_fields)
