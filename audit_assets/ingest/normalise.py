"""From what the source hands over to raw rows: times parsed, JSON text read, rows hashed, refusals given a reason.

The work is one SELECT in DuckDB's dialect whatever the destination, so that every destination holds the same bytes.
"""

from dataclasses import dataclass
from datetime import date, datetime

from audit_assets.ingest.columns import HASHED_COLUMNS, TEXT_LIMITS
from audit_assets.ingest.extract import SourceTable
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.warehouse.protocol import DayWindow
from audit_assets.warehouse.schema import RAW_COLUMNS

_DATED = "regexp_matches(created_at_text, '^[0-9]{4}-[0-9]{2}-[0-9]{2}')"
# Offsets as Postgres allows them: one beyond a day would carry a row past the neighbouring windows.
_ZONED = r"'^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)? ?([Zz]|UTC|[+-](0\d|1[0-5])(:?[0-5]\d)?)$'"
_NAIVE = r"'^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?$'"
_AS_ZONED = r"try_cast(regexp_replace(replace(upper(created_at_text), 'UTC', 'Z'), ' ([Z+-])', '\1') as timestamptz)"
_AS_NAIVE = "try_cast(upper(created_at_text) as timestamp)"


@dataclass(frozen=True)
class Scope:
    """Which rows a read is answerable for: those inside a window of one UTC day, or (its day is None) those outside
    all days."""

    window: DayWindow
    first_day: date
    horizon: datetime


def normalising_sql(scope: Scope, table: SourceTable, policy: SyncPolicy, synced_at: datetime) -> str:
    """The SELECT over `incoming`: the columns of `ai_audit_logs`, `reject_reason`, `created_at_text`; times in UTC.

    Rows of a neighbouring window are left out.
    """
    fields = "*" if table.has_jsonb(policy) else _fields_from_text(policy)
    valid = "true" if table.has_jsonb(policy) else _VALID_JSON
    hashed = ", ".join(_hashable(name) for name in HASHED_COLUMNS)
    columns = ", ".join("row_hash" if name == "row_hash" else name for name in RAW_COLUMNS)
    return f"""
        with timed as (
            select * replace ({_instant(policy)} as created_at), {valid} as json_is_valid,
            from incoming
        ), scoped as (
            select {fields} from timed where {_in_scope(scope)}
        ), judged as (
            select *, {_reason(scope)} as reject_reason, timestamptz '{synced_at.isoformat()}' as synced_at,
                md5(concat_ws(chr(31), {hashed})) as row_hash
            from scoped
        )
        select {columns}, reject_reason, created_at_text from judged
    """


def workspaces_sql(horizon: datetime, policy: SyncPolicy, synced_at: datetime) -> str:
    """The SELECT over `incoming`: the columns of `ai_audit_workspaces`, one row an id; times in UTC.

    A time that is naive, junk, or at or after `horizon` is null: nobody was there then.
    """
    return f"""
        with timed as (
            select *, {_instant(policy)} as instant from incoming where nullif(trim(workspace_id), '') is not null
        ), judged as (
            select *, case when instant < timestamptz '{horizon.isoformat()}' then instant end as last_accessed_at
            from timed
        )
        select workspace_id, name, team, owner, last_accessed_at, timestamptz '{synced_at.isoformat()}' as synced_at
        from judged
        qualify row_number() over (
            partition by workspace_id order by last_accessed_at desc nulls last, name, team, owner
        ) = 1
    """


def _hashable(name: str) -> str:
    """A field as text that differs wherever the field does; null is told from empty."""
    text = f"epoch_us({name})" if RAW_COLUMNS[name] == "timestamptz" else name
    return f"coalesce({text}::varchar, chr(30))"


def _instant(policy: SyncPolicy) -> str:
    naive = (
        f" when regexp_matches(created_at_text, {_NAIVE}) then timezone('{policy.naive_timezone}', {_AS_NAIVE})"
        if policy.naive_timezone
        else ""
    )
    return (
        "case when created_at is not null then created_at"
        f" when regexp_matches(created_at_text, {_ZONED})"
        f" then {_AS_ZONED}{naive} end"
    )


def _in_scope(scope: Scope) -> str:
    """Rows without an instant go by the date their text begins with, so that each is counted in one scope only."""
    start, end = scope.window.start, scope.window.end
    first = scope.first_day.isoformat()
    if scope.window.day is not None:
        return (
            f"(created_at >= timestamptz '{start.isoformat()}' and created_at < timestamptz '{end.isoformat()}')"
            f" or (created_at is null and {_DATED}"
            f" and left(created_at_text, 10) >= '{start.date()}'"
            f" and left(created_at_text, 10) < '{_next_day(start)}')"
        )
    return (
        f"created_at < timestamptz '{first} 00:00:00+00'"
        f" or created_at >= timestamptz '{scope.horizon.isoformat()}'"
        f" or (created_at is null and coalesce(not {_DATED} or left(created_at_text, 10) < '{first}'"
        f" or left(created_at_text, 10) >= '{_next_day(scope.horizon)}', true))"
    )


def _next_day(moment: datetime) -> str:
    return date.fromordinal(moment.date().toordinal() + 1).isoformat()


def _reason(scope: Scope) -> str:
    outside = "when created_at is not null then 'time_out_of_range'" if scope.window.day is None else ""
    return f"""case
        when created_at is null and created_at_text is null then 'missing_time'
        when created_at is null and regexp_matches(created_at_text, '^([+-]?infinity|.* BC|[0-9]{{5,}}-.*)$')
            then 'time_out_of_range'
        when created_at is null and regexp_matches(created_at_text, {_NAIVE})
            and {_AS_NAIVE} is not null then 'naive_time'
        when created_at is null then 'unparsable_time'
        {outside}
        when nullif(trim(id), '') is null then 'missing_id'
        when not json_is_valid then 'invalid_json'
    end"""


_VALID_JSON = "coalesce(json_valid(request_text), true) and coalesce(json_valid(response_text), true)"


# Where the text of `messages` may be: in each of a list or in a lone message, as a string or in parts.
_TEXTS_OF_ONE = ("$.content", "$.content.text")
_TEXTS_OF_MANY = (
    *("$[*].content", "$[*].content[*]", "$[*].content.text", "$[*].content[*].text"),
    *("$.content[*]", "$.content[*].text"),
)


def _fields_from_text(policy: SyncPolicy) -> str:
    """The fields of two JSON texts, pulled out in memory; the same meaning as `extract` has at the source."""
    request, response = policy.source.request_keys, policy.source.response_keys

    def path(key: str) -> str:
        return "'$.\"" + key.replace("'", "''").replace('"', '\\"') + "\"'"

    def text(document: str, key: str) -> str:
        return f"(case when json_is_valid then json_extract_string({document}_text, {path(key)}) end)"

    def kept(name: str, expression: str) -> str:
        return f"left({expression}, {TEXT_LIMITS[name]}) as {name}"

    tokens = policy.source.either_keys.prompt_tokens
    error = f"(case when json_is_valid then json_extract(response_text, {path(response.error)})::varchar end)"
    messages = f"json_extract(request_text, {path(request.messages)})"
    listed = ", ".join(f"json_extract({messages}, '{each}')" for each in _TEXTS_OF_MANY)
    single = ", ".join(f"json_extract({messages}, '{each}')" for each in _TEXTS_OF_ONE)
    parts = f"list_filter(flatten([[{single}], {listed}]), lambda part: json_type(part) = 'VARCHAR')"
    return f"""* exclude (request_text, response_text, status_column),
        {kept("status", f"coalesce(status_column, {text('response', response.status)})")},
        {error} not in ('null', 'false', '""', '"false"', '{{}}', '[]') as error_flag,
        {kept("duration_ms", text("response", response.duration_ms))},
        {kept("model", text("response", response.model))},
        {kept("model_parameters", text("response", response.model_parameters))},
        {kept("completion_id", text("response", response.completion_id))},
        {kept("prompt_tokens", f"coalesce({text('request', tokens)}, {text('response', tokens)})")},
        {kept("completion_tokens", text("response", response.completion_tokens))},
        {kept("source_documents", text("request", request.source_documents))},
        {kept("snapshot_id", text("request", request.snapshot_id))},
        {kept("drill_id", text("request", request.drill_id))},
        case when not json_is_valid then null
            when {text("request", request.prompt)} is not null then length({text("request", request.prompt)})
            when {messages} is not null
                then coalesce(list_sum(list_transform({parts}, lambda part: length(part ->> '$'))), 0)
        end::bigint as prompt_length"""
