"""How rows are brought in, as judged by people: the frozen form of observability/sync.yaml."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class PolicyError(Exception):
    """A sync policy that cannot be used. The message names the file, the field and the mend."""


def parse_duration(value: Any) -> timedelta:
    """`30s`, `15m`, `24h` or `7d` as a timedelta. Raises ValueError on anything else, zero and below included."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,6})([smhd])", str(value).strip())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{value!r} is no duration; write a number and a unit, such as 30s, 15m, 24h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no IANA time zone, such as America/Los_Angeles") from error
    return name


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Timezone = Annotated[str, AfterValidator(_known_timezone)]


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


class SourceNames(_Frozen):
    table: str = "ai_audit_logs"
    columns: Columns = Columns()
    request_keys: RequestKeys = RequestKeys()
    response_keys: ResponseKeys = ResponseKeys()
    either_keys: EitherKeys = EitherKeys()


class Cadence(_Frozen):
    poll: Duration = timedelta(seconds=30)
    heartbeat: Duration = timedelta(minutes=2)


class Repair(_Frozen):
    minimum_lookback: Duration = timedelta(hours=24)
    timezone: Timezone = "America/Los_Angeles"
    hour: int = 2


class Upkeep(_Frozen):
    keep_micro_batches: Duration = timedelta(hours=6)
    keep_sync_rows: Duration = timedelta(days=30)


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
    source: SourceNames = SourceNames()


def read_policy(path: Path) -> SyncPolicy:
    """The policy in `path`. Raises PolicyError naming file, field and mend."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise PolicyError(f"{path}: no such file; AI_AUDIT_SYNC_POLICY says where the sync policy is") from None
    except yaml.YAMLError as error:
        raise PolicyError(f"{path}: not YAML: {error}") from error
    try:
        return SyncPolicy.model_validate(content or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise PolicyError(f"{path.name}: {field}: {first['msg']}") from None
