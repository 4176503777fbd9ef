"""The source's tables in the embedded Postgres, and connections to a source."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions

SOURCE_TABLES = """
create table if not exists ai_audit_logs (
  id                text primary key,
  workflow_id       text,
  capability        text,
  provider          text,
  created_at        timestamptz not null default now(),
  request_metadata  jsonb,
  response_metadata jsonb
);
create index if not exists ai_audit_logs_created_at_idx on ai_audit_logs (created_at);
create table if not exists workflows (
  id               text primary key,
  name             text,
  team             text,
  owner            text,
  last_accessed_at timestamptz
);
create table if not exists workspace_data_snapshots (
  id          text primary key,
  workflow_id text,
  captured_at timestamptz,
  summary     jsonb
);
"""

LOG_COLUMNS = (
    "id",
    "workflow_id",
    "capability",
    "provider",
    "created_at",
    "request_metadata",
    "response_metadata",
)


class SourceError(Exception):
    """The source cannot be reached or rejects a statement. The message never contains a password."""


def server_address(url: str) -> str:
    """Host, port and database of a source's URL, without the password."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'the local socket'}:{parts.port or 5432}{parts.path}"


@contextmanager
def connect(url: str, timeout_s: int = 10) -> Generator[psycopg2.extensions.connection]:
    """Yields a connection with one transaction, which is committed at the end unless the block raises.

    Raises SourceError if the source cannot be reached.
    """
    try:
        connection = psycopg2.connect(url, connect_timeout=timeout_s)
    except psycopg2.OperationalError as error:
        cause = str(error).strip().splitlines()[-1]
        raise SourceError(
            f"the source at {server_address(url)} cannot be reached: {cause}; "
            "start it, or set AI_AUDIT_SOURCE_URL to a running source"
        ) from None
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def create_tables(url: str) -> None:
    """Creates the source's tables if they do not exist."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(SOURCE_TABLES)
