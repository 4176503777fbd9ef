"""The SELECT that runs at the source: fields pulled out of the JSON there, so that content never leaves it. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from audit_assets.ingest.columns import TEXT_LIMITS
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.warehouse.protocol import DayWindow

_DAY = timedelta(days=1)

JSONB_TYPES = ("jsonb",)
ZONED_TYPES = ("timestamp with time zone",)
NAIVE_TYPES = ("timestamp without time zone", "date")

# What the database itself calls empty: an error key with one of these is no error.
_NO_ERROR = """'null', 'false', '""', '"false"', '{}', '[]'"""


@dataclass(frozen=True)
class SourceTable:
    """The source relation as the catalog describes it: quoted name, and column name → type."""

    name: str
    types: dict[str, str]

    def has_jsonb(self, policy: SyncPolicy) -> bool:
        """Whether both metadata columns are jsonb, so that fields can be pulled out safely at the source."""
        names = policy.source.columns
        return all(self.types[name] in JSONB_TYPES for name in (names.request_metadata, names.response_metadata))


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _instant(moment: datetime) -> str:
    return literal(moment.astimezone(UTC).isoformat()) + "::timestamptz"


def instant_expression(table: SourceTable, policy: SyncPolicy, column: str | None = None) -> str | None:
    """A time column, created_at unless another is named, as timestamptz, or None where only its text can be judged
    (text times, naive without a zone)."""
    column = column or policy.source.columns.created_at
    kind = table.types[column]
    if kind in ZONED_TYPES:
        return f"t.{quoted(column)}"
    if kind in NAIVE_TYPES and policy.naive_timezone is not None:
        return f"(t.{quoted(column)}::timestamp at time zone {literal(policy.naive_timezone)})"
    return None


def inside(window: DayWindow, table: SourceTable, policy: SyncPolicy) -> str:
    """The predicate for the rows of `window`; for times that are text it is a day too wide on either side, since
    their zone is known only after parsing (normalising applies the exact bound)."""
    instant = instant_expression(table, policy)
    if instant is None:
        first, last = window.start.date() - _DAY, window.end.date() + _DAY
        leading = _leading_date(policy)
        return f"({leading} >= {literal(str(first))} and {leading} <= {literal(str(last))})"
    exact = f"{instant} >= {_instant(window.start)} and {instant} < {_instant(window.end)}"
    if table.types[policy.source.columns.created_at] in ZONED_TYPES:
        return exact
    column, zone = f"t.{quoted(policy.source.columns.created_at)}", literal(policy.naive_timezone or "UTC")
    indexable = (
        f"{column} >= ({_instant(window.start - _DAY)} at time zone {zone}) "
        f"and {column} < ({_instant(window.end + _DAY)} at time zone {zone})"
    )
    return f"{indexable} and {column} between '0001-01-01' and '9999-12-30' and {exact}"


def outside(first_day: date, horizon: datetime, table: SourceTable, policy: SyncPolicy) -> str:
    """The predicate for rows no window reaches: no usable time, before `first_day`, at or after `horizon` (UTC);
    for times that are text a day too wide, as with `inside`."""
    column = f"t.{quoted(policy.source.columns.created_at)}"
    instant = instant_expression(table, policy)
    if instant is None:
        leading = _leading_date(policy)
        return (
            f"({column} is null or {column}::text !~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}' "
            f"or {leading} <= {literal(str(first_day + _DAY))} or {leading} >= {literal(str(horizon.date() - _DAY))})"
        )
    start = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC)
    if table.types[policy.source.columns.created_at] in ZONED_TYPES:
        return f"({column} is null or {instant} < {_instant(start)} or {instant} >= {_instant(horizon)})"
    sane = f"{column} between '0001-01-01' and '9999-12-30'"
    return (
        f"({column} is null or not ({sane}) or case when {sane} then "
        f"{instant} < {_instant(start)} or {instant} >= {_instant(horizon)} end)"
    )


def _leading_date(policy: SyncPolicy) -> str:
    return f'left(t.{quoted(policy.source.columns.created_at)}::text, 10) collate "C"'


def select_rows(predicate: str, table: SourceTable, policy: SyncPolicy) -> str:
    """The whole SELECT for `predicate`. Columns: as `ai_audit_logs`, with `created_at` null and
    `created_at_text` set where the time is not usable; for text or json metadata the two
    documents come as `request_text`, `response_text`, to be read in memory."""
    names = policy.source.columns
    columns = [
        f"left(t.{quoted(names.id)}::text, {TEXT_LIMITS['id']}) as id",
        *(
            f"left(t.{quoted(getattr(names, name))}::text, {TEXT_LIMITS[name]}) as {name}"
            for name in ("workflow_id", "capability", "provider")
        ),
    ]
    columns += _time_columns(table, policy, names.created_at)
    status = next((name for name in names.status if name in table.types), None)
    status_column = f"nullif(btrim(t.{quoted(status)}::text), '')" if status else "null"
    origin = f"from {table.name} t"
    if table.has_jsonb(policy):
        columns += _json_columns(policy, status_column)
        origin += (
            f" cross join lateral (select {_detoasted(names.request_metadata)} as q,"
            f" {_detoasted(names.response_metadata)} as r offset 0) d"
        )
    else:
        columns += [
            f"left({status_column}, {TEXT_LIMITS['status']}) as status_column",
            f"t.{quoted(names.request_metadata)}::text as request_text",
            f"t.{quoted(names.response_metadata)}::text as response_text",
        ]
    return f"select {', '.join(columns)} {origin} where {predicate}"


def select_workspaces(table: SourceTable, policy: SyncPolicy) -> str:
    """The SELECT for all workspaces. Columns: as `ai_audit_workspaces`, with the time of the last access in
    `created_at` and `created_at_text`, so that one reading of times serves both tables."""
    names = policy.source.workspaces.columns
    texts = {"workspace_id": names.id, "name": names.name, "team": names.team, "owner": names.owner}
    columns = [
        f"left(t.{quoted(column)}::text, {TEXT_LIMITS['workflow_id']}) as {name}" for name, column in texts.items()
    ]
    columns += _time_columns(table, policy, names.last_accessed_at)
    return f"select {', '.join(columns)} from {table.name} t"


def _time_columns(table: SourceTable, policy: SyncPolicy, column: str) -> list[str]:
    """`created_at`, and `created_at_text` where the time is not usable as it is."""
    instant, text = instant_expression(table, policy, column), f"left(t.{quoted(column)}::text, 64)"
    if instant is None:
        return ["null::timestamptz as created_at", f"{text} as created_at_text"]
    usable = f"t.{quoted(column)} between '0001-01-02' and '9999-12-30'"
    return [
        f"case when {usable} then {instant} end as created_at",
        f"case when {usable} then null else {text} end as created_at_text",
    ]


def _detoasted(column: str) -> str:
    """The document, unpacked once: every `->>` on a stored document over 2 KB would unpack it again
    (13 keys of 9 KB documents: 1.9 × a plain copy of the table, against 0.7 × so)."""
    name = f"t.{quoted(column)}"
    return f"case when pg_column_size({name}) < 1500 then {name} else {name} #> '{{}}' end"


def _json_columns(policy: SyncPolicy, status_column: str) -> list[str]:
    request, response = policy.source.request_keys, policy.source.response_keys
    tokens = literal(policy.source.either_keys.prompt_tokens)

    def text(name: str, expression: str) -> str:
        return f"left({expression}, {TEXT_LIMITS[name]}) as {name}"

    prompt, messages = literal(request.prompt), literal(request.messages)
    return [
        text("status", f"coalesce({status_column}, r ->> {literal(response.status)})"),
        f"(r -> {literal(response.error)}) not in ({_NO_ERROR}) as error_flag",
        text("duration_ms", f"r ->> {literal(response.duration_ms)}"),
        text("model", f"r ->> {literal(response.model)}"),
        text("model_parameters", f"r ->> {literal(response.model_parameters)}"),
        text("completion_id", f"r ->> {literal(response.completion_id)}"),
        text("prompt_tokens", f"coalesce(q ->> {tokens}, r ->> {tokens})"),
        text("completion_tokens", f"r ->> {literal(response.completion_tokens)}"),
        text("source_documents", f"q ->> {literal(request.source_documents)}"),
        text("snapshot_id", f"q ->> {literal(request.snapshot_id)}"),
        text("drill_id", f"q ->> {literal(request.drill_id)}"),
        f"case when q ->> {prompt} is not null then char_length(q ->> {prompt})"
        f" when q -> {messages} is not null then (select coalesce(sum(char_length("
        "case jsonb_typeof(part) when 'string' then part #>> '{}'"
        " when 'object' then case jsonb_typeof(part -> 'text') when 'string' then part ->> 'text' end end)), 0)"
        f" from jsonb_path_query(q -> {messages}, 'lax $[*].content[*]') part) end::bigint as prompt_length",
    ]
