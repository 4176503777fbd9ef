"""What a message tells, as values: one rule, the episodes of it that opened together, and what helps to judge them.

Rendered by slack_message and pagerduty_event; filled from the ledger and the facts. Times are UTC.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from audit_assets.alerting.links import Links
from audit_assets.rules.model import Rule

ToldState = Literal["firing", "recovering", "resolved"]


@dataclass(frozen=True, slots=True)
class Told:
    """One episode as it is told. `key` is its dedup key; `value` and its kin are those of the newest firing window,
    `peak` the value of the worst one."""

    key: str
    environment: str
    dimensions: tuple[tuple[str, str], ...]
    state: ToldState
    since: datetime
    opened_at: datetime
    resolved_at: datetime | None
    resolve_reason: str | None  # cleared, rule_removed, …; None while it is open
    value: float | None
    baseline: float | None
    threshold: float | None
    delta_percent: float | None
    peak: float | None
    window_start: datetime
    window_end: datetime
    way: str = ""
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None  # a name at PagerDuty
    history: tuple[float | None, ...] = ()  # the value of the last windows, oldest first, for a sparkline

    def dimension(self, name: str) -> str:
        return dict(self.dimensions).get(name, "")

    @property
    def is_drill(self) -> bool:
        return self.environment == "sim"


@dataclass(frozen=True, slots=True)
class Contributor:
    """A capability's part in a total: what it has now, and what it usually has."""

    name: str
    value: float
    usual: float


@dataclass(frozen=True, slots=True)
class Story:
    """One message: a rule and the episodes that opened together, worst first. `data_until` is how far the warehouse
    knows the source; `run_url` leads to the Dagster run that judged; `pages` says whether the rule wakes someone."""

    rule: Rule
    told: tuple[Told, ...]
    now: datetime
    data_until: datetime | None
    links: Links
    contributors: tuple[Contributor, ...] = ()
    run_url: str | None = None
    pages: bool = False

    @property
    def is_over(self) -> bool:
        return all(each.state == "resolved" for each in self.told)

    @property
    def is_drill(self) -> bool:
        return all(each.is_drill for each in self.told)
