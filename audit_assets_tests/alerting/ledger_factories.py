"""Factories for ledger tests: a ledger, hand-made rule results, and routes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import select

from audit_assets.alerting.ledger import tables
from audit_assets.alerting.ledger.tables import Ledger
from audit_assets.alerting.links import Links
from audit_assets.alerting.notify.recorder import EvaluationRun, RecordedCounts, record_evaluation
from audit_assets.rules.episode import Episode, Finding, State
from audit_assets.rules.judge import Failure, RuleOutcome, RuleResult
from audit_assets.rules.model import RuleSet
from audit_assets.rules.routing import Routing
from audit_assets_tests.rules.factories import CALENDAR, shipped

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)

ON_CALL = {
    "description": "paged",
    "pagerduty": {"service": "ai-audit-observability", "escalation": ["Data Platform on-call"]},
    "slack": "#ai-copilot-ops",
}
OPS = {"description": "read", "slack": "#ai-copilot-ops"}
COMPLIANCE = {"description": "informed", "slack": "#ai-copilot-compliance"}
ROUTING = Routing.model_validate({"routes": {"on_call": ON_CALL, "ops": OPS, "compliance": COMPLIANCE}})
WAITING = Routing.model_validate({"routes": {"on_call": {**ON_CALL, "hold_until_drill": True}, "ops": OPS}})

PAGER, OPS_CHANNEL = "pagerduty:ai-audit-observability", "slack:#ai-copilot-ops"

SPIKE = shipped("volume_spike")
RULES = RuleSet((SPIKE, shipped("new_capability"), shipped("freshness_slo")), ())


def episode(
    capability: str = "chat",
    value: float = 90.0,
    at: datetime = NOON,
    since: datetime | None = None,
    state: State = "firing",
    rule: str = "volume_spike",
    environment: str = "live",
) -> Episode:
    """An episode that fired in the quarter of an hour that ends `at`."""
    finding = Finding(
        rule, environment, (("capability", capability),), value, 10.0, 20.0, (value / 10 - 1) * 100, at - QUARTER, at
    )
    began = since or at - QUARTER
    return Episode(state, began, at, began + QUARTER, at, None, (True,), finding, finding)


def rule_result(*episodes: Episode, at: datetime = NOON, rule: str = "volume_spike") -> RuleResult:
    return RuleResult(rule, episodes, 12, 0, 0, at - QUARTER, at)


def failed(rule: str = "volume_spike", message: str = "volume_spike: there is no table to evaluate") -> Failure:
    return Failure(rule, message)


@dataclass
class Book:
    """A ledger with helpers that record evaluations and query the tables."""

    ledger: Ledger
    routing: Routing = ROUTING
    rules: RuleSet = RULES
    runs: int = 0
    deployment: str = "test"
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])

    def record(
        self, *results: RuleOutcome, now: datetime = NOON, as_of: datetime | None = None, version: int | None = None
    ) -> RecordedCounts:
        """Records one evaluation run at `now` over facts known up to `as_of`, with one `version` for all tables."""
        self.runs += 1
        run = EvaluationRun(
            self.rules,
            results,
            self.tables,
            CALENDAR,
            as_of or now,
            now,
            f"run{self.runs}",
            self.deployment,
            self.routing,
            Links("", ""),
            versions={} if version is None else {rule.watch: version for rule in self.rules.rules},
        )
        return record_evaluation(self.ledger, run)

    def rows(self, table: str) -> Sequence[Any]:
        chosen = getattr(tables, table)
        with self.ledger.transaction() as connection:
            return connection.execute(select(chosen).order_by(*chosen.primary_key.columns)).all()

    def outbox(self, target: str | None = None) -> list[tuple[str, str]]:
        """Action and status of the rows, in order."""
        found = [row for row in self.rows("deliveries") if target in (None, row.target)]
        return [(row.action, row.status) for row in found]

    def open(self) -> list[str]:
        return sorted(row.key for row in self.rows("alerts") if row.resolved_at is None)

    def kinds(self) -> list[str]:
        return [row.kind for row in self.rows("events")]


def later(*, minutes: float = 0, hours: float = 0) -> datetime:
    return NOON + timedelta(minutes=minutes, hours=hours)


def recovering(firing: Episode, at: datetime) -> Episode:
    return replace(firing, state="recovering", at=at)
