"""What ledgers without a revision may lack: they were written before the migrations."""

from alembic import op
from sqlalchemy import BigInteger, Column, DateTime, Integer, String, Text, inspect

revision = "0001"
down_revision = None

_UTC = DateTime(timezone=True)
_ADDED = {
    "ai_audit_alerts": (("acknowledged_at", _UTC), ("acknowledged_by", String()), ("acknowledgement_asked_at", _UTC)),
    "ai_audit_alert_evaluations": (("facts_version", BigInteger()),),
    "ai_audit_alert_deliveries": (("look_after", String()),),
}


def upgrade() -> None:
    existing = inspect(op.get_bind())
    for table, columns in _ADDED.items():
        known = {column["name"] for column in existing.get_columns(table)}
        for name, kind in columns:
            if name not in known:
                op.add_column(table, Column(name, kind))
    if not existing.has_table("ai_audit_remediations"):
        op.create_table(
            "ai_audit_remediations",
            Column("id", String, primary_key=True),
            Column("alert_key", String, nullable=False, index=True),
            Column("rule_id", String, nullable=False),
            Column("capability", String, nullable=False),
            Column("environment", String, nullable=False),
            Column("action", String, nullable=False),
            Column("reason", Text, nullable=False),
            Column("planned_by", String, nullable=False),
            Column("planned_at", _UTC, nullable=False),
            Column("expires_at", _UTC, nullable=False),
            Column("approved_by", String),
            Column("approved_at", _UTC),
            Column("applied_by", String),
            Column("applied_at", _UTC),
            Column("outcome", String),
            Column("said", Text),
            Column("attempts", Integer, nullable=False),
            Column("lease_until", _UTC),
        )
