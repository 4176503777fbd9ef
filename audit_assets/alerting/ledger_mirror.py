"""The ledger's copy in the warehouse: what dashboards and compliance read of episodes, of what became of them and of
who was told. The ledger itself stays the record; losing the copy loses nothing."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa
from sqlalchemy import Boolean, Column, Float, Integer, Table, func, select
from sqlalchemy.engine import Connection

from audit_assets.alerting.instant import Instant
from audit_assets.alerting.ledger import Ledger, alerts, deliveries, events, remediations
from audit_assets.warehouse.keeping import Keeper

# Which columns are copied, and what they say. Left out is what only a deliverer needs: leases, and the plainer content.
MIRRORED: Mapping[Table, Mapping[str, str]] = {
    alerts: {
        "key": "The episode's name everywhere: PagerDuty's dedup key.",
        "rule_id": "The rule that fired; its file has this name.",
        "environment": "`live`, or `sim` for a drill.",
        "dimensions": "What it fired for, JSON: a capability, or nothing for all of them.",
        "number": "The how-manieth episode of this rule for these dimensions.",
        "state": "firing, recovering or resolved.",
        "severity": "As the rule says.",
        "since": "The first moment at which the condition held, UTC.",
        "opened_at": "When the ledger opened it, UTC.",
        "acknowledged_at": "When somebody took it at PagerDuty, UTC; null where nobody did, or it cannot be read.",
        "acknowledged_by": "Who that was, by the name PagerDuty has.",
        "resolved_at": "When it was over, UTC; null while it is open.",
        "resolve_reason": "Why it ended.",
        "window_start": "Start of the newest window that was judged, UTC.",
        "window_end": "End of that window, UTC.",
        "value": "The figure of that window.",
        "baseline": "What is usual there.",
        "threshold": "From where on the rule fires.",
        "delta_percent": "Value against usual, in percent.",
        "peak": "The worst value of the episode.",
        "group_key": "Episodes of one Slack message share it.",
        "as_of": "What the facts were known up to when it was last judged, UTC.",
        "run_id": "The Dagster run that opened it.",
    },
    events: {
        "id": "In the order they happened.",
        "key": "The episode.",
        "kind": "What happened: opened, recovering, acknowledged, resolved and so on.",
        "evaluation": "The judging it came from.",
        "happened_at": "When, UTC.",
        "value": "The figure at that time.",
        "said": "Why, in words.",
        "run_id": "The Dagster run.",
    },
    deliveries: {
        "seq": "In the order they were put into the outbox.",
        "id": "Made of what is told, so that nothing is told twice.",
        "target": "Provider and channel or service.",
        "action": "trigger, resolve, post, edit, reply or notice.",
        "rule_id": "The rule.",
        "alert_key": "The episode; null where it is told with others.",
        "group_key": "The message it belongs to.",
        "payload": "What was told, JSON, without a secret.",
        "status": "pending, inflight, sent, parked, suppressed, superseded or dead.",
        "attempts": "How often it was tried.",
        "reference": "The provider's name for it.",
        "said": "The provider's last word.",
        "created_at": "When it was to be told, UTC.",
        "first_attempt_at": "When it was first tried, UTC.",
        "ended_at": "When it was taken or given up, UTC.",
    },
    remediations: {
        "id": "The plan.",
        "alert_key": "The episode it is about.",
        "rule_id": "The rule.",
        "capability": "What is to be disabled.",
        "environment": "`live`, or `sim` for a drill, which is never sent.",
        "action": "What is to be done.",
        "reason": "Why, in the planner's words.",
        "planned_by": "Who planned it.",
        "planned_at": "When, UTC.",
        "expires_at": "Until when it may be approved and sent, UTC.",
        "approved_by": "Who approved it: somebody else.",
        "approved_at": "When, UTC.",
        "applied_by": "Who sent it.",
        "applied_at": "When it was taken, UTC.",
        "outcome": "What is known of it: sent, or why not; null before the first attempt.",
        "said": "The other side's last word.",
        "attempts": "How often it was sent.",
    },
}

# `at` is a word of SQL's own in both engines.
_NAMES_THERE = {"happened_at": "at"}


def mirror_ledger(ledger: Ledger, keeper: Keeper) -> Mapping[str, int]:
    """Brings the copies up to the ledger, in one commit each side; the caller holds the warehouse. The tables that had
    changed and were written anew, and their rows. Raises LedgerError."""
    held = keeper.copied_versions()  # a ledger in which nothing happened costs a count a table
    with ledger.transaction() as connection:
        versions = {table.name: _version(connection, table) for table in MIRRORED}
        stale = [table for table in MIRRORED if held.get(table.name) != versions[table.name]]
        fresh = {table.name: _rows(connection, table) for table in stale}
    if fresh:
        keeper.replace_copies(fresh, {name: versions[name] for name in fresh})
    return {name: rows.num_rows for name, rows in fresh.items()}


def column_types(table: Table) -> dict[str, str]:
    """Column → DuckDB type of a copy."""
    return {name: _TYPES[_kind(_column(table, name))][0] for name in MIRRORED[table]}


def _column(table: Table, name: str) -> Column[object]:
    return table.c[_NAMES_THERE.get(name, name)]


_TYPES: Mapping[str, tuple[str, pa.DataType]] = {
    "moment": ("timestamptz", pa.timestamp("us", tz="UTC")),
    "figure": ("double", pa.float64()),
    "whole": ("bigint", pa.int64()),
    "truth": ("boolean", pa.bool_()),
    "text": ("varchar", pa.string()),
}


def _kind(column: Column[object]) -> str:
    kinds = ((Instant, "moment"), (Float, "figure"), (Boolean, "truth"), (Integer, "whole"))
    return next((kind for of, kind in kinds if isinstance(column.type, of)), "text")


def _version(connection: Connection, table: Table) -> str:
    """Changes with what is copied. An alert is judged again and a delivery is tried again without a row more."""
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
    columns = ",".join(MIRRORED[table])  # a new column is a new copy
    return hashlib.sha256(repr((columns, [tuple(row) for row in rows])).encode()).hexdigest()[:16]


def _rows(connection: Connection, table: Table) -> pa.Table:
    names = list(MIRRORED[table])
    order = next(iter(table.primary_key.columns))
    found = connection.execute(select(*(_column(table, name) for name in names)).order_by(order)).all()
    columns = list(zip(*found, strict=True)) or [() for _ in names]
    schema = pa.schema([(name, _TYPES[_kind(_column(table, name))][1]) for name in names])
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)
