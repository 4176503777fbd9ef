"""Outcomes of drills: stored in the alert ledger, where routes that wait for a passed drill look them up, and listed in
the documentation."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.engine import Connection

from audit_assets.access.document import MarkersError
from audit_assets.alerting.ledger.tables import drills
from audit_assets.drills.traffic import Drill, DrillName

_BEGIN, _END = "<!-- drills -->\n", "<!-- /drills -->"


@dataclass(frozen=True)
class DrillOutcome:
    """The result of a drill: whether its check failed and recovered, how long each took, and how many notifications
    (messages or incidents) reported each. Times are UTC."""

    drill: DrillName
    rule: str
    capability: str
    began_at: datetime
    detected_after_seconds: float | None
    recovered_after_seconds: float | None
    sent_when_opened: int
    sent_when_resolved: int

    @property
    def passed(self) -> bool:
        seen = self.detected_after_seconds is not None and self.recovered_after_seconds is not None
        return seen and 0 < self.sent_when_opened == self.sent_when_resolved


@dataclass(frozen=True)
class RecordedDrill:
    """A drill as the ledger has it. `notified` is the number of messages and incidents that reported the anomaly."""

    id: str
    drill: str
    rule_id: str
    capability: str
    began_at: datetime
    detected_after_seconds: float | None
    recovered_after_seconds: float | None
    notified: int
    passed: bool


def record_outcome(connection: Connection, drill: Drill, outcome: DrillOutcome) -> None:
    connection.execute(
        insert(drills).values(
            id=drill.drill_id, drill=outcome.drill, rule_id=outcome.rule, capability=outcome.capability,
            began_at=outcome.began_at, detected_after_seconds=outcome.detected_after_seconds,
            recovered_after_seconds=outcome.recovered_after_seconds, passed=outcome.passed,
            told=outcome.sent_when_opened,
        )
    )  # fmt: skip


def recorded_drills(connection: Connection) -> list[RecordedDrill]:
    """The outcomes of all drills, newest first."""
    columns = (column.label("notified") if column.name == "told" else column for column in drills.c)
    rows = connection.execute(select(*columns).order_by(drills.c.began_at.desc(), drills.c.id))
    return [RecordedDrill(**row) for row in rows.mappings()]


def page_with(page: str, recorded: Iterable[RecordedDrill]) -> str:
    """The Markdown `page` with the latest outcome of each drill between its markers. Raises MarkersError."""
    if _BEGIN not in page or _END not in page:
        raise MarkersError("docs/ai-audit-observability.md lacks the markers `<!-- drills -->` and `<!-- /drills -->`")
    newest = {each.drill: each for each in sorted(recorded, key=lambda each: each.began_at)}
    lines = [
        "| drill | date (UTC) | rule | detected | recovered | notified | outcome | runbook |",
        "|---|---|---|---:|---:|---:|---|---|",
    ]
    for _, each in sorted(newest.items()):
        link = f"[{each.rule_id}](INGESTION_WORKFLOW.md#{each.rule_id})"
        spans = f"{span(each.detected_after_seconds)} | {span(each.recovered_after_seconds)}"
        outcome = "passed" if each.passed else "failed"
        began = f"{each.began_at:%Y-%m-%d %H:%M}"
        lines.append(f"| {each.drill} | {began} | `{each.rule_id}` | {spans} | {each.notified} | {outcome} | {link} |")
    table = "\n".join(lines) + "\n" if newest else "No drill has been recorded yet.\n"
    head, rest = page.split(_BEGIN, 1)
    return f"{head}{_BEGIN}{table}{_END}{rest.split(_END, 1)[1]}"


def span(seconds: float | None) -> str:
    """How long it took, as text; "no" if it did not happen."""
    return "no" if seconds is None else f"{seconds:.0f} s"
