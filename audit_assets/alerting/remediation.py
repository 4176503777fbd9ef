"""What may be done about a runaway capability, by whom and until when: planned by one, approved by another, sent once;
pure.

A plan is fixed when it is made: what was approved is what is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from audit_assets.alerting.outcome import Outcome, OutcomeKind
from audit_assets.alerting.outside_text import shown

DISABLE = "disable_capability"
VALID_FOR = timedelta(hours=1)  # from planning: an approval of yesterday's trouble is none of today's
LEASE = timedelta(seconds=60)  # longer than an attempt may take

# applying  it is being sent at this moment, or whoever sent it died; then one may know only after `lease_until`
Progress = OutcomeKind | Literal["applying"]


class RemediationError(Exception):
    """A step that is not to be taken. The message says the mend."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What a plan needs to know of its episode, as the ledger holds it now."""

    key: str
    rule_id: str
    capability: str
    environment: str
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Remediation:
    """One plan and how far it has come. `outcome` is None before the first attempt. Times are UTC."""

    id: str
    alert_key: str
    rule_id: str
    capability: str
    environment: str
    action: str
    reason: str
    planned_by: str
    planned_at: datetime
    expires_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None
    applied_by: str | None = None
    applied_at: datetime | None = None
    outcome: Progress | None = None
    said: str | None = None
    attempts: int = 0
    lease_until: datetime | None = None

    @property
    def is_drill(self) -> bool:
        return self.environment == "sim"

    @property
    def key(self) -> str:
        """The idempotency key: the same at every attempt."""
        return f"ai-audit-remediation-{self.id}"

    def state(self, now: datetime) -> str:
        """planned, approved, applying, unknown (it may have been taken), failed, applied or expired."""
        if self.outcome == "sent":
            return "applied"
        if self.outcome == "applying" and self.lease_until is not None and now < self.lease_until:
            return "applying"
        if self.outcome in ("applying", "uncertain"):
            return "unknown"
        if now >= self.expires_at:
            return "expired"
        if self.outcome is not None:
            return "failed"
        return "planned" if self.approved_by is None else "approved"


def planned(alert: Alert, plan_id: str, by: str, reason: str, now: datetime) -> Remediation:
    """A plan to disable the capability of an open alert. Raises RemediationError."""
    _open(alert)
    if not alert.capability:
        raise RemediationError(
            f"{alert.key}: is about all capabilities, and one is to be disabled: plan it from an alert of that one"
        )
    if not reason.strip():
        raise RemediationError("say why, for whoever approves it: --reason")
    return Remediation(
        plan_id, alert.key, alert.rule_id, alert.capability, alert.environment, DISABLE, reason.strip(),
        _name(by), now, now + VALID_FOR,
    )  # fmt: skip


def approved(plan: Remediation, alert: Alert, by: str, now: datetime) -> Remediation:
    """The plan with an approval by somebody else than who planned it. Raises RemediationError."""
    name = _name(by)
    _unexpired(plan, now)
    _open(alert)
    if plan.approved_by is not None:
        raise RemediationError(
            f"{plan.id}: {shown(plan.approved_by)} has approved it; `audit remediate apply {plan.id}`"
        )
    if name.casefold() == plan.planned_by.casefold():
        raise RemediationError(f"{plan.id}: {shown(name)} planned it; somebody else is to approve it")
    return replace(plan, approved_by=name, approved_at=now)


def begun(plan: Remediation, alert: Alert, by: str, now: datetime) -> Remediation:
    """The plan while it is being sent. Raises RemediationError unless it is approved, unexpired, no drill's, and
    neither sent nor being sent. After an unknown outcome the alert may be over: that may be its doing."""
    if plan.outcome == "sent":
        raise RemediationError(f"{plan.id}: was applied by {shown(plan.applied_by or '')}; there is nothing left to do")
    if plan.state(now) == "applying":
        raise RemediationError(f"{plan.id}: is being sent by {shown(plan.applied_by or '')}; look again in a minute")
    if plan.is_drill:
        raise RemediationError(f"{plan.id}: is of a drill, whose capability exists nowhere: apply it with --dry-run")
    _unexpired(plan, now)
    if plan.approved_by is None:
        raise RemediationError(
            f"{plan.id}: nobody has approved it; somebody else than {shown(plan.planned_by)} does so with "
            f"`audit remediate approve {plan.id} --by NAME`"
        )
    if plan.state(now) != "unknown":
        _open(alert)
    return replace(
        plan, outcome="applying", applied_by=_name(by), attempts=plan.attempts + 1, lease_until=now + LEASE, said=None
    )


def ended(plan: Remediation, outcome: Outcome, now: datetime) -> Remediation:
    """The plan after an attempt: applied, or with what is known of it."""
    applied_at = now if outcome.kind == "sent" else None
    return replace(plan, outcome=outcome.kind, said=outcome.said, applied_at=applied_at, lease_until=None)


def request_of(plan: Remediation) -> Mapping[str, Any]:
    """The body that is sent, made of what was planned alone."""
    return {
        "id": plan.id,
        "action": plan.action,
        "capability": plan.capability,
        "environment": plan.environment,
        "reason": plan.reason,
        "alert": plan.alert_key,
        "rule": plan.rule_id,
        "planned_by": plan.planned_by,
        "planned_at": plan.planned_at.isoformat(),
    }


def next_step(plan: Remediation, now: datetime) -> str:
    """What to do with a plan now; empty where nothing is left to do."""
    steps = {
        "planned": f"somebody else than {shown(plan.planned_by)} approves it until {plan.expires_at:%H:%M:%S} UTC: "
        f"`audit remediate approve {plan.id} --by NAME`",
        "approved": f"`audit remediate apply {plan.id}` sends it until {plan.expires_at:%H:%M:%S} UTC",
        "failed": f"nothing was done; once that is mended, `audit remediate apply {plan.id}` sends it again",
        "unknown": f"it may have been taken; `audit remediate apply {plan.id}` sends it again with the same key",
    }
    return steps.get(plan.state(now), "")


def _open(alert: Alert) -> None:
    if alert.resolved_at is not None:
        raise RemediationError(
            f"{alert.key}: is over since {alert.resolved_at:%Y-%m-%d %H:%M} UTC; `audit alerts list` names what is open"
        )


def _unexpired(plan: Remediation, now: datetime) -> None:
    if now >= plan.expires_at:
        raise RemediationError(
            f"{plan.id}: expired at {plan.expires_at:%Y-%m-%d %H:%M} UTC, {VALID_FOR.seconds // 3600} h after it was "
            f"planned; plan it anew with `audit remediate plan {plan.alert_key}`"
        )


def _name(by: str) -> str:
    name = " ".join(by.split())
    if not name:
        raise RemediationError("say who you are, for the record: --by")
    return name
