"""Generates rows inside Postgres: fast, deterministic, of a given size. They are not realistic traffic."""

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg2
import psycopg2.extensions

CAPABILITIES = 12
WORKSPACES = 500

# The approximate JSON size in bytes of a row's fields without its two texts.
_OTHER_BYTES = 300
_TEXTS = 997

_WORDS = (
    "the quarterly forecast shows that revenue grew while churn fell in most regions except those where pricing "
    "changed last month please summarise which accounts moved and why compare them with plan list open risks owners "
    "next steps and draft a short note for leadership including numbers by segment team product channel renewal date"
)

_POOL = """
select setseed(0.5);
create temp table texts as
select number, (
    select string_agg((string_to_array(%(words)s, ' '))[1 + floor(random() * %(known)s)::int], ' ')
    from generate_series(1, %(wanted)s) as word where number >= 0
) as words
from generate_series(0, {texts} - 1) as number
"""

# {n} is the row's number, {words} its text, {at} its time.
_ROW = """
    ('w' || (1 + mod({n} * 7919, {workspaces})))::text,
    'capability_' || mod({n} * 31, {capabilities}),
    (array['openai', 'anthropic', 'azure', 'bedrock', 'stub'])[1 + mod({n} * 17, 5)],
    {at},
    jsonb_build_object(
        'prompt', left({words}, %(characters)s), 'promptTokens', 20 + mod({n}, 400),
        'snapshotId', 's' || mod({n}, 60),
        'sourceDocuments', jsonb_build_array('d' || mod({n}, 900), 'd' || mod({n}, 7))
    ),
    jsonb_build_object(
        'status', case when mod({n}, 40) = 0 then 'error' else 'success' end,
        'durationMs', 120 + mod({n} * 104729, 9000),
        'model', 'model-' || mod({n}, 4), 'modelParameters', jsonb_build_object('temperature', 0.2, 'topP', 1),
        'completionId', 'cmpl-' || md5({n}::text), 'completionTokens', 5 + mod({n}, 700),
        'response', right({words}, %(characters)s)
    )
"""

_INTO = """insert into ai_audit_logs
    (id, workflow_id, capability, provider, created_at, request_metadata, response_metadata)"""


def _row(words: str, at: str) -> str:
    return _ROW.format(n="n", words=words, at=at, workspaces=WORKSPACES, capabilities=CAPABILITIES)


@dataclass(frozen=True)
class SourceRows:
    """The rows in the source: their number, and the mean bytes of both documents of a row as JSON text."""

    rows: int
    json_bytes: float


def fill(url: str, rows: int, row_bytes: int, days: int, end: datetime) -> SourceRows:
    """Empties the log table and inserts `rows` rows of about `row_bytes` of JSON, evenly over `days` up to `end` (UTC).
    Vacuums and analyzes the table, so that Postgres has no work left during the measurement."""
    characters = max(1, (row_bytes - _OTHER_BYTES) // 2)
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True  # vacuum runs outside transactions
        with connection.cursor() as cursor:
            cursor.execute("truncate ai_audit_logs")
            _make_texts(cursor, characters)
            cursor.execute(
                f"{_INTO} select md5('row-' || n)::uuid::text, "
                + _row("words", "%(start)s::timestamptz + %(span)s * (n::float8 / %(rows)s)")
                + " from generate_series(1, %(rows)s::bigint) as n join texts on number = mod(n, %(texts)s)",
                {
                    "characters": characters,
                    "start": end - timedelta(days=days),
                    "span": timedelta(days=days),
                    "rows": rows,
                    "texts": _TEXTS,
                },
            )
            cursor.execute("vacuum (analyze) ai_audit_logs")
            cursor.execute("checkpoint")
            cursor.execute(
                "select count(*), avg(octet_length(request_metadata::text) + octet_length(response_metadata::text))"
                " from (select * from ai_audit_logs limit 10000) as first_rows"
            )
            json_bytes = cursor.fetchall()[0][1]
    return SourceRows(rows, float(json_bytes))


def _make_texts(cursor: psycopg2.extensions.cursor, characters: int) -> None:
    wanted = max(2, characters // 4)  # the mean word with its space is longer than 4 characters
    known = len(_WORDS.split())
    cursor.execute(_POOL.format(texts=_TEXTS), {"words": _WORDS, "known": known, "wanted": wanted})
    cursor.execute("analyze texts")


def add_rows(
    cursor: psycopg2.extensions.cursor, rows: int, prefix: str, at: datetime | None = None, row_bytes: int = 700
) -> list[str]:
    """Inserts `rows` rows created at `at` (UTC; None: the transaction's now). Returns their ids, which start with
    `prefix`. Does not commit."""
    characters = max(1, (row_bytes - _OTHER_BYTES) // 2)
    cursor.execute(
        f"{_INTO} select %(prefix)s || gen_random_uuid()::text, "
        + _row("repeat(md5(n::text), 1 + %(characters)s / 32)", "coalesce(%(at)s, transaction_timestamp())")
        + " from generate_series(1, %(rows)s::bigint) as n returning id",
        {"prefix": prefix, "characters": characters, "rows": rows, "at": at},
    )
    return [id_ for (id_,) in cursor.fetchall()]
