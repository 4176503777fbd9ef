"""The alert ledger's tables and its transactions: SQLite by default, Postgres by URL, one code path.

`ai_audit_alerts` holds a row an episode; `ai_audit_alert_events` what happened to it, append-only; `_groups` the
messages episodes share; `_deliveries` the outbox; `_targets` who cannot be reached at the moment; `_evaluations` a row
each time a rule was judged; `_silences` what is not to be told; `_drills` what drills showed; `_heartbeats` who looked
last. `ai_audit_remediations` holds plans against runaway capabilities. All times are UTC.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import (
    Boolean,
    Column,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from audit_assets.alerting.instant import Instant
from audit_assets.alerting.older_ledger import add_missing_columns

_BUSY_SECONDS = 30
_MAKING_TABLES, _RECORDING = 7240191, 7240192  # advisory locks on Postgres


class LedgerError(Exception):
    """A ledger that cannot be opened or written. The message says the mend, and never the address's password."""


_tables = MetaData()

alerts = Table(
    "ai_audit_alerts",
    _tables,
    Column("key", String, primary_key=True),  # the dedup key
    Column("rule_id", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("dimensions", Text, nullable=False),  # JSON, name to value
    Column("fingerprint", String, nullable=False),
    Column("number", Integer, nullable=False),  # the how-manieth episode of its instance
    Column("state", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("since", Instant, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("resolved_at", Instant),
    Column("resolve_reason", String),
    Column("window_start", Instant, nullable=False),
    Column("window_end", Instant, nullable=False),
    Column("way", String, nullable=False),
    Column("value", Float),
    Column("baseline", Float),
    Column("threshold", Float),
    Column("delta_percent", Float),
    Column("peak", Float),
    Column("group_key", String, nullable=False, index=True),
    Column("as_of", Instant, nullable=False),  # of the newest evaluation that spoke of it
    Column("run_id", String, nullable=False),  # the Dagster run that opened it
    Column("in_summary", Boolean, nullable=False, default=False),  # told by its group's one PagerDuty alert
    Column("acknowledged_at", Instant),
    Column("acknowledged_by", String),  # as PagerDuty names them, fit to be shown
    Column("acknowledgement_asked_at", Instant),  # when PagerDuty was asked last, whatever it said
    UniqueConstraint("fingerprint", "number"),
)
Index("ai_audit_alerts_one_open", alerts.c.fingerprint, unique=True,
      sqlite_where=alerts.c.resolved_at.is_(None), postgresql_where=alerts.c.resolved_at.is_(None))  # fmt: skip

groups = Table(
    "ai_audit_alert_groups",
    _tables,
    Column("key", String, primary_key=True),
    Column("rule_id", String, nullable=False, index=True),
    Column("environment", String, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("rule", Text, nullable=False),  # JSON: what a message needs of the rule, should its file go
)

events = Table(
    "ai_audit_alert_events",
    _tables,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("evaluation", String, nullable=False),
    Column("at", Instant, nullable=False),
    Column("value", Float),
    Column("said", Text),
    Column("run_id", String, nullable=False),
    UniqueConstraint("key", "kind", "evaluation"),
)

evaluations = Table(
    "ai_audit_alert_evaluations",
    _tables,
    Column("id", String, primary_key=True),
    Column("rule_id", String, nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("window_end", Instant),
    Column("at", Instant, nullable=False),
    Column("outcome", String, nullable=False),  # judged, not_ready, failed, outdated
    Column("open", Integer, nullable=False),
    Column("said", Text),
    Column("run_id", String, nullable=False),
)
Index("ai_audit_alert_evaluations_newest", evaluations.c.rule_id, evaluations.c.as_of)

deliveries = Table(
    "ai_audit_alert_deliveries",
    _tables,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("stream", String, nullable=False),  # rows of one stream go out in order
    Column("target", String, nullable=False),
    Column("action", String, nullable=False),
    Column("rule_id", String, nullable=False),
    Column("alert_key", String),
    Column("group_key", String),
    Column("payload", Text, nullable=False),
    Column("fallback", Text),  # what is sent where the payload is refused
    Column("status", String, nullable=False),
    Column("maybe_taken", Boolean, nullable=False, default=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", Instant),
    Column("lease_until", Instant),
    Column("leased_by", String),
    Column("reference", String),
    Column("said", Text),
    Column("created_at", Instant, nullable=False),
    Column("first_attempt_at", Instant),
    Column("ended_at", Instant),
)
Index("ai_audit_alert_deliveries_due", deliveries.c.status, deliveries.c.seq)
Index("ai_audit_alert_deliveries_stream", deliveries.c.stream, deliveries.c.seq)

targets = Table(
    "ai_audit_alert_targets",
    _tables,
    Column("target", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("not_before", Instant),
    Column("parked_since", Instant),
    Column("said", Text),
)

silences = Table(
    "ai_audit_alert_silences",
    _tables,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("rule_id", String),
    Column("capability", String),
    Column("environment", String),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# One row: whose ledger it is.
owner = Table(
    "ai_audit_alert_owner",
    _tables,
    Column("deployment", String, primary_key=True),
)

heartbeats = Table(
    "ai_audit_alert_heartbeats",
    _tables,
    Column("name", String, primary_key=True),
    Column("at", Instant, nullable=False),
)

drills = Table(
    "ai_audit_alert_drills",
    _tables,
    Column("id", String, primary_key=True),
    Column("drill", String, nullable=False),
    Column("rule_id", String, nullable=False),
    Column("capability", String, nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("detected_after_seconds", Float),
    Column("recovered_after_seconds", Float),
    Column("told", Integer, nullable=False),  # messages and incidents
    Column("passed", Boolean, nullable=False),
)

remediations = Table(
    "ai_audit_remediations",
    _tables,
    Column("id", String, primary_key=True),
    Column("alert_key", String, nullable=False, index=True),
    Column("rule_id", String, nullable=False),
    Column("capability", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("action", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("planned_by", String, nullable=False),
    Column("planned_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("approved_by", String),
    Column("approved_at", Instant),
    Column("applied_by", String),  # who sent it last
    Column("applied_at", Instant),
    Column("outcome", String),  # applying, or how the last attempt ended
    Column("said", Text),
    Column("attempts", Integer, nullable=False),
    Column("lease_until", Instant),
)

TABLES = tuple(_tables.tables)


class Ledger:
    """Where alerts are remembered. Transactions are serial on SQLite; on Postgres rows are locked as they are taken."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"Ledger({self._engine.url.render_as_string(hide_password=True)})"

    @contextmanager
    def transaction(self, alone: bool = False) -> Generator[Connection]:
        """All of it, or nothing; with `alone`, never beside another one that asked for that. Raises LedgerError where
        the database cannot be had."""
        try:
            with self._engine.begin() as connection:
                if alone:
                    _alone(connection, _RECORDING)
                yield connection
        except SQLAlchemyError as error:
            raise LedgerError(f"{self!r}: {_first_line(error)}") from None

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_ledger(url: str) -> Ledger:
    """The ledger at `url`, its tables and columns made where they are missing. Raises LedgerError."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise LedgerError("AI_AUDIT_LEDGER_URL: takes sqlite:///FILE or postgresql+psycopg2://…")
        if parsed.get_backend_name() == "sqlite":
            Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS})
            _make_serial(engine)
        else:
            engine = create_engine(parsed, pool_size=1, max_overflow=4, pool_pre_ping=True)
        with engine.begin() as connection:
            _alone(connection, _MAKING_TABLES)
            _tables.create_all(connection)
            add_missing_columns(connection, _tables)
    except ArgumentError:
        raise LedgerError("AI_AUDIT_LEDGER_URL: is no database address; see .env.example") from None
    except (SQLAlchemyError, OSError) as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise LedgerError(f"the alert ledger at {shown} cannot be opened: {_first_line(error)}") from None
    return Ledger(engine)


def _alone(connection: Connection, lock: int) -> None:
    """SQLite's transactions are serial as they are."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": lock})


def _make_serial(engine: Engine) -> None:
    """SQLAlchemy's own transactions on SQLite begin with a read and lose updates: 450 of 600 from four processes."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None
        for pragma in (f"busy_timeout = {_BUSY_SECONDS * 1000}", "journal_mode = wal", "synchronous = full"):
            connection.execute(f"pragma {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql("begin immediate")


def _first_line(error: BaseException) -> str:
    """The driver's own words, without the statement and its values, which may hold what nobody is to read."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
