"""The copy of the ledger in the warehouse, for dashboards and compliance: episodes, their events, the notifications and
the remediations. The ledger stays the system of record; the copy can be rebuilt from it."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa
from sqlalchemy import Boolean, Column, Float, Integer, Table, func, select
from sqlalchemy.engine import Connection

from audit_assets.alerting.ledger.tables import Ledger, UtcDateTime, alerts, deliveries, events, remediations
from audit_assets.warehouse.protocol import MaintenanceSession

# The exported columns and their descriptions. Columns that only a deliverer needs are left out: leases and fallbacks.
EXPORTED_COLUMNS: Mapping[Table, Mapping[str, str]] = {
    alerts: {
        "key": "Key of the episode, also used as PagerDuty's dedup key.",
        "rule_id": "The rule that fired; its file has this name.",
        "environment": "`live`, or `sim` for a drill.",
        "dimensions": "The dimensions it fired for, JSON: a capability, or empty for all capabilities.",
        "number": "Sequence number of the episode for this rule and these dimensions, from 1.",
        "state": "firing, recovering or resolved.",
        "severity": "Severity of the rule.",
        "since": "The first time at which the condition was true, UTC.",
        "opened_at": "When the ledger opened the episode, UTC.",
        "acknowledged_at": "When somebody acknowledged it at PagerDuty, UTC; null if nobody did, or if it is unknown.",
        "acknowledged_by": "Name of that person at PagerDuty.",
        "resolved_at": "When the episode was resolved, UTC; null while it is open.",
        "resolve_reason": "Why it was resolved.",
        "window_start": "Start of the newest window that fired, UTC.",
        "window_end": "End of that window, UTC.",
        "value": "The rule's value in that window.",
        "baseline": "The usual value for that window.",
        "threshold": "The threshold of the rule in that window.",
        "delta_percent": "Deviation of the value from the baseline, in percent.",
        "peak": "The worst value of the episode.",
        "group_key": "Key of the group; the episodes of one group share a Slack message.",
        "as_of": "The time up to which the facts were known at the last evaluation, UTC.",
        "run_id": "The Dagster run that opened it.",
    },
    events: {
        "id": "Sequence number, in the order of the events.",
        "key": "Key of the episode.",
        "kind": "Kind of event: opened, recovering, acknowledged, resolved and so on.",
        "evaluation": "The evaluation that caused the event.",
        "happened_at": "When it happened, UTC.",
        "value": "The rule's value at that time.",
        "said": "Reason or detail, as text.",
        "run_id": "The Dagster run.",
    },
    deliveries: {
        "seq": "Sequence number in the outbox.",
        "id": "Idempotency key, a hash of stream, target, action and subject: the same message is not queued twice.",
        "target": "Provider and channel or service.",
        "action": "trigger, resolve, post, edit, reply, ticket, comment or notice.",
        "rule_id": "The rule.",
        "alert_key": "Key of the episode; null if the message covers several episodes.",
        "group_key": "Key of the group it belongs to.",
        "payload": "The content that was sent, JSON, without secrets.",
        "status": "pending, inflight, sent, parked, suppressed, superseded or dead.",
        "attempts": "Number of attempts.",
        "reference": "The provider's identifier of the message, incident or ticket.",
        "said": "Outcome of the last attempt, or why the message was not sent.",
        "created_at": "When it was queued, UTC.",
        "first_attempt_at": "When the first attempt began, UTC.",
        "ended_at": "When it was sent or given up, UTC.",
    },
    remediations: {
        "id": "Id of the plan.",
        "alert_key": "Key of the episode.",
        "rule_id": "The rule.",
        "capability": "The capability to disable.",
        "environment": "`live`, or `sim` for a drill, which is never sent.",
        "action": "The action to take.",
        "reason": "The reason given by the planner.",
        "planned_by": "Who planned it.",
        "planned_at": "When it was planned, UTC.",
        "expires_at": "Until when it may be approved and sent, UTC.",
        "approved_by": "Who approved it; never the planner.",
        "approved_at": "When it was approved, UTC.",
        "applied_by": "Who sent it.",
        "applied_at": "When the other side accepted it, UTC.",
        "outcome": "Outcome of the last attempt: sent, or why not; null before the first attempt.",
        "said": "The last response of the other side.",
        "attempts": "Number of attempts.",
    },
}

# `at` is a reserved word in both engines.
_LEDGER_NAMES = {"happened_at": "at"}

# Kind of column → type in DuckDB, and in Arrow.
_TYPES: Mapping[str, tuple[str, pa.DataType]] = {
    "timestamp": ("timestamptz", pa.timestamp("us", tz="UTC")),
    "float": ("double", pa.float64()),
    "integer": ("bigint", pa.int64()),
    "boolean": ("boolean", pa.bool_()),
    "text": ("varchar", pa.string()),
}


def export_ledger(ledger: Ledger, session: MaintenanceSession) -> Mapping[str, int]:
    """Updates the copies from the ledger, with one transaction on each side; the caller holds the warehouse lock.

    Returns the tables that had changed and were rewritten, with their numbers of rows. Raises LedgerError.
    """
    copied = session.copied_versions()  # without changes in the ledger, an export costs one count query per table
    with ledger.transaction() as connection:
        versions = {table.name: _version(connection, table) for table in EXPORTED_COLUMNS}
        stale = [table for table in EXPORTED_COLUMNS if copied.get(table.name) != versions[table.name]]
        fresh = {table.name: _rows(connection, table) for table in stale}
    if fresh:
        session.replace_copies(fresh, {name: versions[name] for name in fresh})
    return {name: rows.num_rows for name, rows in fresh.items()}


def column_types(table: Table) -> dict[str, str]:
    """Column → DuckDB type of a copy."""
    return {name: _TYPES[_kind(_column(table, name))][0] for name in EXPORTED_COLUMNS[table]}


def _column(table: Table, name: str) -> Column[object]:
    return table.c[_LEDGER_NAMES.get(name, name)]


def _kind(column: Column[object]) -> str:
    kinds = ((UtcDateTime, "timestamp"), (Float, "float"), (Boolean, "boolean"), (Integer, "integer"))
    return next((kind for of, kind in kinds if isinstance(column.type, of)), "text")


def _version(connection: Connection, table: Table) -> str:
    """A hash that changes with the exported rows. Row counts alone are not enough: evaluating an alert again or
    retrying a delivery adds no row."""
    moving = {
        alerts.name: (
            func.max(alerts.c.as_of),
            func.max(alerts.c.resolved_at),
            func.count(alerts.c.resolved_at),
            func.count(alerts.c.acknowledged_at),
        ),
        events.name: (func.max(events.c.id),),
        deliveries.name: (func.max(deliveries.c.ended_at), func.sum(deliveries.c.attempts)),
        remediations.name: (
            func.max(remediations.c.planned_at),
            func.count(remediations.c.approved_at),
            func.sum(remediations.c.attempts),
            func.count(remediations.c.applied_at),
        ),
    }[table.name]
    by = {deliveries.name: (deliveries.c.status,), remediations.name: (remediations.c.outcome,)}.get(table.name, ())
    rows = connection.execute(select(*by, func.count(), *moving).select_from(table).group_by(*by).order_by(*by)).all()
    columns = ",".join(EXPORTED_COLUMNS[table])  # a new column requires a new copy
    return hashlib.sha256(repr((columns, [tuple(row) for row in rows])).encode()).hexdigest()[:16]


def _rows(connection: Connection, table: Table) -> pa.Table:
    names = list(EXPORTED_COLUMNS[table])
    order = next(iter(table.primary_key.columns))
    found = connection.execute(select(*(_column(table, name) for name in names)).order_by(order)).all()
    columns = list(zip(*found, strict=True)) or [() for _ in names]
    schema = pa.schema([(name, _TYPES[_kind(_column(table, name))][1]) for name in names])
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)
