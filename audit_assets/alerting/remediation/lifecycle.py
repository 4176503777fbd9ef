"""The lifecycle of a remediation: planned by one person, approved by another, sent once, within an hour; pure.

A plan does not change after it is made: what was approved is what is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from audit_assets.alerting.delivery.outcome import Outcome, OutcomeKind
from audit_assets.text.sanitize import escape

DISABLE = "disable_capability"
VALID_FOR = timedelta(hours=1)  # from planning: an approval must not be used for a later incident
LEASE = timedelta(seconds=60)  # longer than an attempt may take

# applying  an attempt is running, or its process died; the outcome is unknown once `lease_until` has passed
Progress = OutcomeKind | Literal["applying"]

# unknown  an attempt ended without a response, so it may have been accepted
PlanState = Literal["planned", "approved", "applying", "unknown", "failed", "applied", "expired"]


class RemediationError(Exception):
    """A step that is not allowed. The message says how to fix it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """The current state of the plan's episode in the ledger, as far as a plan needs it."""

    key: str
    rule_id: str
    capability: str
    environment: str
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Remediation:
    """One plan and its progress. `outcome` is None before the first attempt. Times are UTC."""

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

    def state(self, now: datetime) -> PlanState:
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


def make_plan(alert: Alert, plan_id: str, by: str, reason: str, now: datetime) -> Remediation:
    """A plan to disable the capability of an open alert. Raises RemediationError."""
    _open(alert)
    if not alert.capability:
        raise RemediationError(
            f"{alert.key}: this alert covers all capabilities; plan the remediation from an alert of one capability"
        )
    if not reason.strip():
        raise RemediationError("a reason is required for the approver: --reason")
    return Remediation(
        plan_id, alert.key, alert.rule_id, alert.capability, alert.environment, DISABLE, reason.strip(),
        _name(by), now, now + VALID_FOR,
    )  # fmt: skip


def approve_plan(plan: Remediation, alert: Alert, by: str, now: datetime) -> Remediation:
    """The plan with an approval by another person than the planner. Raises RemediationError."""
    name = _name(by)
    _unexpired(plan, now)
    _open(alert)
    if plan.approved_by is not None:
        raise RemediationError(
            f"{plan.id}: already approved by {escape(plan.approved_by)}; run `audit remediate apply {plan.id}`"
        )
    if name.casefold() == plan.planned_by.casefold():
        raise RemediationError(f"{plan.id}: planned by {escape(name)}; another person must approve it")
    return replace(plan, approved_by=name, approved_at=now)


def begin_attempt(plan: Remediation, alert: Alert, by: str, now: datetime) -> Remediation:
    """The plan while it is being sent.

    Raises RemediationError unless the plan is approved, not expired, not of a drill, and neither sent nor being sent.
    After an unknown outcome the alert may be resolved: the remediation may have worked.
    """
    if plan.outcome == "sent":
        raise RemediationError(
            f"{plan.id}: already applied by {escape(plan.applied_by or '')}; there is nothing left to do"
        )
    if plan.state(now) == "applying":
        raise RemediationError(f"{plan.id}: is being sent by {escape(plan.applied_by or '')}; try again in a minute")
    if plan.is_drill:
        raise RemediationError(f"{plan.id}: belongs to a drill, whose capability does not exist: use --dry-run")
    _unexpired(plan, now)
    if plan.approved_by is None:
        raise RemediationError(
            f"{plan.id}: not approved yet; another person than {escape(plan.planned_by)} must run "
            f"`audit remediate approve {plan.id} --by NAME`"
        )
    if plan.state(now) != "unknown":
        _open(alert)
    return replace(
        plan, outcome="applying", applied_by=_name(by), attempts=plan.attempts + 1, lease_until=now + LEASE, said=None
    )


def end_attempt(plan: Remediation, outcome: Outcome, now: datetime) -> Remediation:
    """The plan after an attempt: applied, or with the outcome of the attempt."""
    applied_at = now if outcome.kind == "sent" else None
    return replace(plan, outcome=outcome.kind, said=outcome.detail, applied_at=applied_at, lease_until=None)


def request_body(plan: Remediation) -> Mapping[str, str]:
    """The request body; it contains only what was planned."""
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
    """The next step for a plan; empty if nothing is left to do."""
    steps: Mapping[PlanState, str] = {
        "planned": f"another person than {escape(plan.planned_by)} must approve it before "
        f"{plan.expires_at:%H:%M:%S} UTC: `audit remediate approve {plan.id} --by NAME`",
        "approved": f"`audit remediate apply {plan.id}` sends it until {plan.expires_at:%H:%M:%S} UTC",
        "failed": f"nothing was changed; fix the error, then `audit remediate apply {plan.id}` sends it again",
        "unknown": f"it may have been accepted; `audit remediate apply {plan.id}` sends it again with the same key",
    }
    return steps.get(plan.state(now), "")


def _open(alert: Alert) -> None:
    if alert.resolved_at is not None:
        raise RemediationError(
            f"{alert.key}: resolved since {alert.resolved_at:%Y-%m-%d %H:%M} UTC; `audit alerts list` shows open alerts"
        )


def _unexpired(plan: Remediation, now: datetime) -> None:
    if now >= plan.expires_at:
        raise RemediationError(
            f"{plan.id}: expired at {plan.expires_at:%Y-%m-%d %H:%M} UTC, {VALID_FOR.seconds // 3600} h after it was "
            f"planned; make a new plan with `audit remediate plan {plan.alert_key}`"
        )


def _name(by: str) -> str:
    name = " ".join(by.split())
    if not name:
        raise RemediationError("your name is required for the audit trail: --by")
    return name
