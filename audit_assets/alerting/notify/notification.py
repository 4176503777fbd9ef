"""The content of a notification, as values: one rule, its episodes that opened together, and context for the reader.

Rendered by slack_message, pagerduty_event and ticket; filled from the ledger and the facts. Times are UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from audit_assets.alerting.ledger.states import AlertStatus, ResolveReason
from audit_assets.alerting.links import Links
from audit_assets.rules.model import Rule

DRILLS = "sim"  # the environment of rows that a drill generates


@dataclass(frozen=True, slots=True)
class AlertState:
    """The state of one episode. `key` is its dedup key. `value`, `baseline`, `threshold` and `delta_percent` are those
    of the newest firing window; `peak` is the value of the worst window."""

    key: str
    environment: str
    dimensions: tuple[tuple[str, str], ...]
    state: AlertStatus
    since: datetime
    opened_at: datetime
    resolved_at: datetime | None
    resolve_reason: ResolveReason | None  # None while the episode is open
    value: float | None
    baseline: float | None
    threshold: float | None
    delta_percent: float | None
    peak: float | None
    window_start: datetime
    window_end: datetime
    condition: str = ""
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None  # the person's name at PagerDuty
    history: tuple[float | None, ...] = ()  # the values of the last windows, oldest first, for a sparkline

    def dimension(self, name: str) -> str:
        return dict(self.dimensions).get(name, "")

    @property
    def is_drill(self) -> bool:
        return self.environment == DRILLS


@dataclass(frozen=True, slots=True)
class Contributor:
    """A capability's share of a total: its value now, and its usual value."""

    name: str
    value: float
    usual: float


@dataclass(frozen=True, slots=True)
class Notification:
    """One message: a rule and the episodes that opened together, worst first.

    `data_until` is the time up to which the warehouse has the source's rows. `run_url` links to the Dagster run that
    evaluated the rule. `pages` is true if the rule pages someone. `look_alikes` maps a capability to another one whose
    name looks the same, and to the differences. `cause` is why the watched process fails, if that is on record.
    `registered` lists new capabilities by name; `more_registered` counts those not listed.
    """

    rule: Rule
    alerts: tuple[AlertState, ...]
    now: datetime
    data_until: datetime | None
    links: Links
    contributors: tuple[Contributor, ...] = ()
    run_url: str | None = None
    pages: bool = False
    look_alikes: Mapping[str, tuple[str, tuple[str, ...]]] = field(
        default_factory=dict[str, tuple[str, tuple[str, ...]]]
    )
    cause: str = ""
    registered: tuple[str, ...] = ()
    more_registered: int = 0

    @property
    def is_over(self) -> bool:
        return all(each.state == "resolved" for each in self.alerts)

    @property
    def is_drill(self) -> bool:
        return all(each.is_drill for each in self.alerts)
