"""Turns source rows into raw rows: parses times, hashes rows, and gives rejected rows a reason.

It is one SELECT in DuckDB's dialect for every destination, so that all destinations get the same bytes.
"""

from dataclasses import dataclass
from datetime import date, datetime

from audit_assets.ingest.extract import HASHED_COLUMNS
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.warehouse.protocol import DayWindow
from audit_assets.warehouse.schema import RAW_COLUMNS

_DATED = "regexp_matches(created_at_text, '^[0-9]{4}-[0-9]{2}-[0-9]{2}')"
# Offsets as Postgres allows them: an offset beyond a day would move a row past the neighboring windows.
_ZONED = r"'^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)? ?([Zz]|UTC|[+-](0\d|1[0-5])(:?[0-5]\d)?)$'"
_NAIVE = r"'^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?$'"
_AS_ZONED = r"try_cast(regexp_replace(replace(upper(created_at_text), 'UTC', 'Z'), ' ([Z+-])', '\1') as timestamptz)"
_AS_NAIVE = "try_cast(upper(created_at_text) as timestamp)"


@dataclass(frozen=True)
class Scope:
    """The rows that a read covers: those inside a window of one UTC day or, if the window's day is None, those outside
    all days."""

    window: DayWindow
    first_day: date
    horizon: datetime


def normalizing_sql(scope: Scope, policy: SyncPolicy, synced_at: datetime) -> str:
    """The SELECT over `incoming`: the columns of `ai_audit_logs`, `reject_reason`, `created_at_text`; times in UTC.

    Rows of a neighboring window are left out.
    """
    hashed = ", ".join(_hashable(name) for name in HASHED_COLUMNS)
    columns = ", ".join("row_hash" if name == "row_hash" else name for name in RAW_COLUMNS)
    return f"""
        with timed as (
            select * replace ({_instant(policy)} as created_at),
                coalesce(status_column, response_status) as status,
                coalesce(request_prompt_tokens, response_prompt_tokens) as prompt_tokens
            from incoming
        ), scoped as (
            select * from timed where {_in_scope(scope)}
        ), validated as (
            select *, {_reason(scope)} as reject_reason, timestamptz '{synced_at.isoformat()}' as synced_at,
                md5(concat_ws(chr(31), {hashed})) as row_hash
            from scoped
        )
        select {columns}, reject_reason, created_at_text from validated
    """


def workspaces_sql(horizon: datetime, policy: SyncPolicy, synced_at: datetime) -> str:
    """The SELECT over `incoming`: the columns of `ai_audit_workspaces`, one row per id; times in UTC.

    A time that is naive, invalid, or at or after `horizon` becomes null: such an access cannot have happened.
    """
    return f"""
        with timed as (
            select *, {_instant(policy)} as instant from incoming where nullif(trim(workspace_id), '') is not null
        ), validated as (
            select *, case when instant < timestamptz '{horizon.isoformat()}' then instant end as last_accessed_at
            from timed
        )
        select workspace_id, name, team, owner, last_accessed_at, timestamptz '{synced_at.isoformat()}' as synced_at
        from validated
        qualify row_number() over (
            partition by workspace_id order by last_accessed_at desc nulls last, name, team, owner
        ) = 1
    """


def _hashable(name: str) -> str:
    """A field as text that differs whenever the field does; null differs from empty."""
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
    """Rows without an instant are assigned by the date their text begins with, so each belongs to one scope only."""
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
