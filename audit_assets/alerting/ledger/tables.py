"""The tables of the alert ledger and its transactions: SQLite by default, Postgres by URL, one code path.

`ai_audit_alerts` has one row per episode; `ai_audit_alert_events` its events, append-only; `_groups` one row per
message that episodes share; `_deliveries` the outbox; `_targets` the providers that cannot be reached at the moment;
`_evaluations` one row per evaluation of a rule; `_silences` the silences; `_drills` the outcomes of drills;
`_heartbeats` the last heartbeat of each process. `ai_audit_remediations` has the plans to disable runaway capabilities.
All times are UTC.
"""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Engine,
    Float,
    FromClause,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from audit_assets.alerting.ledger.migrations import upgrade_schema
from audit_assets.alerting.ledger.states import Action, DeliveryStatus

_BUSY_SECONDS = 30
_UPGRADING, _RECORDING, CLAIMING = 7240191, 7240192, 7240193  # advisory locks on Postgres


class UtcDateTime(TypeDecorator[datetime]):
    """A timestamp in UTC. SQLite has no time zones: the value is stored without one and read back with UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("timestamp without a time zone; pass it in UTC")
        at = value.astimezone(UTC)
        return at.replace(tzinfo=None) if dialect.name == "sqlite" else at

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class LedgerError(Exception):
    """A ledger that cannot be opened or written. The message says how to fix it and never contains the password."""


_tables = MetaData()

alerts = Table(
    "ai_audit_alerts",
    _tables,
    Column("key", String, primary_key=True),  # the dedup key
    Column("rule_id", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("dimensions", Text, nullable=False),  # JSON, name to value
    Column("fingerprint", String, nullable=False),
    Column("number", Integer, nullable=False),  # sequence number of the episode of its instance, from 1
    Column("state", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("resolved_at", UtcDateTime),
    Column("resolve_reason", String),
    Column("window_start", UtcDateTime, nullable=False),
    Column("window_end", UtcDateTime, nullable=False),
    Column("way", String, nullable=False, key="condition"),  # the name of the condition that held
    Column("value", Float),
    Column("baseline", Float),
    Column("threshold", Float),
    Column("delta_percent", Float),
    Column("peak", Float),
    Column("group_key", String, nullable=False, index=True),
    Column("as_of", UtcDateTime, nullable=False),  # of the newest evaluation that updated it
    Column("run_id", String, nullable=False),  # the Dagster run that opened it
    Column("in_summary", Boolean, nullable=False, default=False),  # covered by the summary alert of its group
    Column("acknowledged_at", UtcDateTime),
    Column("acknowledged_by", String),  # name at PagerDuty, escaped
    Column("acknowledgement_asked_at", UtcDateTime),  # when PagerDuty was last polled, whatever the outcome
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
    Column("opened_at", UtcDateTime, nullable=False),
    # JSON: the fields of the rule that a message needs, in case the file is deleted
    Column("rule", Text, nullable=False),
)

events = Table(
    "ai_audit_alert_events",
    _tables,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("evaluation", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
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
    Column("as_of", UtcDateTime, nullable=False),
    Column("facts_version", BigInteger),  # of the evaluated table; null if unknown
    Column("window_end", UtcDateTime),
    Column("at", UtcDateTime, nullable=False),
    Column("outcome", String, nullable=False),  # an EvaluationOutcome
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
    Column("stream", String, nullable=False),  # rows of one stream are sent in order
    Column("target", String, nullable=False),
    Column("action", String, nullable=False),
    Column("rule_id", String, nullable=False),
    Column("alert_key", String),
    Column("group_key", String),
    Column("payload", Text, nullable=False),
    Column("fallback", Text),  # sent if the provider refuses the payload
    Column("status", String, nullable=False),  # a DeliveryStatus
    Column("maybe_taken", Boolean, nullable=False, default=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", UtcDateTime),
    Column("lease_until", UtcDateTime),
    Column("leased_by", String),
    Column("reference", String),
    Column("said", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("first_attempt_at", UtcDateTime),
    Column("look_after", String),  # reference of the newest message at the target before the first uncertain attempt
    Column("ended_at", UtcDateTime),
)
Index("ai_audit_alert_deliveries_due", deliveries.c.status, deliveries.c.seq)
Index("ai_audit_alert_deliveries_stream", deliveries.c.stream, deliveries.c.seq)

targets = Table(
    "ai_audit_alert_targets",
    _tables,
    Column("target", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("not_before", UtcDateTime),
    Column("parked_since", UtcDateTime),
    Column("said", Text),
)

silences = Table(
    "ai_audit_alert_silences",
    _tables,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("rule_id", String),
    Column("capability", String),
    Column("environment", String),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# One row: the deployment that owns the ledger.
owner = Table(
    "ai_audit_alert_owner",
    _tables,
    Column("deployment", String, primary_key=True),
)

heartbeats = Table(
    "ai_audit_alert_heartbeats",
    _tables,
    Column("name", String, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)

drills = Table(
    "ai_audit_alert_drills",
    _tables,
    Column("id", String, primary_key=True),
    Column("drill", String, nullable=False),
    Column("rule_id", String, nullable=False),
    Column("capability", String, nullable=False),
    Column("began_at", UtcDateTime, nullable=False),
    Column("detected_after_seconds", Float),
    Column("recovered_after_seconds", Float),
    Column("told", Integer, nullable=False),  # number of messages and incidents sent
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
    Column("planned_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("approved_by", String),
    Column("approved_at", UtcDateTime),
    Column("applied_by", String),  # who sent it last
    Column("applied_at", UtcDateTime),
    Column("outcome", String),  # applying, or how the last attempt ended
    Column("said", Text),
    Column("attempts", Integer, nullable=False),
    Column("lease_until", UtcDateTime),
)


class Ledger:
    """The alert ledger. Transactions are serialized on SQLite; on Postgres, rows are locked as they are read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"Ledger({self._engine.url.render_as_string(hide_password=True)})"

    @contextmanager
    def transaction(self, exclusive: bool = False) -> Generator[Connection]:
        """A transaction that commits at the end of the block, or rolls back on an exception. At most one `exclusive`
        transaction runs at a time. Raises LedgerError if the database cannot be reached."""
        try:
            with self._engine.begin() as connection:
                if exclusive:
                    lock_for_transaction(connection, _RECORDING)
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
    """Opens the ledger at `url`; creates its tables, or upgrades those of an earlier version. Raises LedgerError."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise LedgerError("AI_AUDIT_LEDGER_URL: must be sqlite:///FILE or postgresql+psycopg2://…")
        if parsed.get_backend_name() == "sqlite":
            Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS})
            _serialize_transactions(engine)
        else:
            engine = create_engine(parsed, pool_size=1, max_overflow=4, pool_pre_ping=True)
        with engine.begin() as connection:
            lock_for_transaction(connection, _UPGRADING)
            upgrade_schema(connection, _tables)
    except ArgumentError:
        raise LedgerError("AI_AUDIT_LEDGER_URL: is not a database URL; see .env.example") from None
    except (SQLAlchemyError, OSError) as error:
        safe_url = make_url(url).render_as_string(hide_password=True)
        raise LedgerError(f"the alert ledger at {safe_url} cannot be opened: {_first_line(error)}") from None
    return Ledger(engine)


def has_status(*statuses: DeliveryStatus, of: FromClause = deliveries) -> ColumnElement[bool]:
    """Rows of `of`, the deliveries or an alias of them, with one of these statuses."""
    return of.c.status.in_(statuses)


def has_action(*actions: Action, of: FromClause = deliveries) -> ColumnElement[bool]:
    """Rows of `of`, the deliveries or an alias of them, with one of these actions."""
    return of.c.action.in_(actions)


def lock_for_transaction(connection: Connection, lock: int) -> None:
    """Waits for the advisory lock `lock` and holds it until the transaction ends. Does nothing on SQLite, where
    transactions are serialized anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": lock})


def _serialize_transactions(engine: Engine) -> None:
    """Begins each SQLite transaction with a write lock. SQLAlchemy's default begins with a read, which lost 450 of 600
    updates by four processes."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in (f"busy_timeout = {_BUSY_SECONDS * 1000}", "journal_mode = wal", "synchronous = full"):
            connection.execute(f"pragma {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("begin immediate")


def _first_line(error: BaseException) -> str:
    """The first line of the driver's message, without the statement and its values, which may contain private data."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
