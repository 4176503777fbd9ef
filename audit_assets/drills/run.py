"""Runs a drill: writes its rows, looks whether its rule fires and recovers, and deletes everything it wrote."""

import math
import os
import time
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from audit_assets.alerting.delivery.outbox import CLOSING_ACTIONS, OPENING_ACTIONS, drill_deliveries
from audit_assets.alerting.inputs import live_facts
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets.alerting.notify.notification import DRILLS
from audit_assets.clock import Clock
from audit_assets.drills.outcomes import DrillOutcome, record_outcome
from audit_assets.drills.traffic import RULE_OF, Drill, DrillName, add_history, begin_anomaly, end_anomaly, remove
from audit_assets.ingest.policy import read_policy
from audit_assets.named_lock import acquire_lock, is_locked, read_holder
from audit_assets.rules.business_clock import BusinessCalendar, business_minutes_between
from audit_assets.rules.judge import judge
from audit_assets.rules.load import load_rules
from audit_assets.settings import Settings
from audit_assets.warehouse.factory import open_warehouse
from audit_assets.warehouse.snapshot import publish

_DROPPED = timedelta(hours=8)  # how long the calls of a drop have been missing: visible in every window of hours
_SILENT = timedelta(minutes=150)  # of business time
_DELIVERED_WITHIN_SECONDS = 60  # the lease time of a row that the sensor claimed


@dataclass(frozen=True)
class Pipeline:
    """What a drill needs of the pipeline, which runs in Dagster: `build` syncs and judges from a UTC day to today,
    `judge` only judges, `deliver` sends due deliveries. `report` takes a line of progress."""

    build: Callable[[date], object]
    judge: Callable[[], object]
    deliver: Callable[[], object]
    report: Callable[[str], object]
    clock: Clock


@contextmanager
def only_drill(lock: Path, name: DrillName, report: Callable[[str], object]) -> Generator[None]:
    """Waits until no other drill runs in this home. Drills share an environment, so the calls of one drill would hide
    the silence of another."""
    if is_locked(lock):
        holder = read_holder(lock) or {}
        report(f"waiting for another drill to end: {holder.get('drill', 'starting')}")
    descriptor = acquire_lock(lock, {"drill": name}, timeout_seconds=math.inf)
    try:
        yield
    finally:
        os.close(descriptor)


def run_drill(settings: Settings, url: str, drill: Drill, pipeline: Pipeline) -> DrillOutcome:
    """Runs the drill against the source at `url`, deletes its rows in any case, and records its outcome in the
    ledger."""
    try:
        outcome = _run(settings, url, drill, pipeline)
    finally:
        remove(url, drill)
        pipeline.build(drill.first_day.date())
        forget(settings, drill, pipeline)
        pipeline.report("cleaned up: no row of the drill is left in the source or the warehouse")
    with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
        record_outcome(connection, drill, outcome)
    return outcome


def _run(settings: Settings, url: str, drill: Drill, pipeline: Pipeline) -> DrillOutcome:
    clock, rule = pipeline.clock, RULE_OF[drill.name]
    if drill.name != "new-capability":
        _register(settings, drill, pipeline)
        pipeline.report(f"{add_history(url, drill):,} ordinary rows over 28 days loaded as a baseline")
        pipeline.build(drill.first_day.date())
    if _fires(settings, drill, clock()):
        pipeline.report(f"{rule} already fires on the ordinary rows")
    began = clock()  # loading the history took time; the anomaly ends now
    begin_anomaly(url, replace(drill, now=began))
    pipeline.build((drill.now - _DROPPED).date())
    detected = (clock() - began).total_seconds() if _fires(settings, drill, clock()) else None
    opened = _deliver(settings, drill, pipeline, OPENING_ACTIONS)
    ended = clock()
    end_anomaly(url, drill)
    recover(settings, drill, pipeline)
    recovered = None if _fires(settings, drill, clock()) else (clock() - ended).total_seconds()
    closed = _deliver(settings, drill, pipeline, CLOSING_ACTIONS)
    return DrillOutcome(
        drill.name, rule, drill.capability, drill.now, detected, recovered, len(opened), len(set(closed))
    )


def recover(settings: Settings, drill: Drill, pipeline: Pipeline) -> None:
    """Syncs and judges after the anomaly has ended. A new capability is removed from the registry only after its rows
    left the warehouse: otherwise a concurrent batch would register and announce it again."""
    pipeline.build((drill.now - _DROPPED).date())
    if drill.name == "new-capability":
        forget(settings, drill, pipeline)
        pipeline.judge()


def _deliver(settings: Settings, drill: Drill, pipeline: Pipeline, actions: Collection[str]) -> list[str]:
    """Sends the drill's due deliveries, concurrently with the sensor. Returns the targets of its sent deliveries that
    have one of `actions`, whichever process sent them."""
    until = time.monotonic() + _DELIVERED_WITHIN_SECONDS
    while True:
        pipeline.deliver()
        with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
            rows = drill_deliveries(connection, RULE_OF[drill.name], drill.capability, drill.now)
        if time.monotonic() > until or not any(row.status in ("pending", "inflight") for row in rows):
            return [row.target for row in rows if row.status == "sent" and row.action in actions]
        time.sleep(0.5)


def _register(settings: Settings, drill: Drill, pipeline: Pipeline) -> None:
    """Registers the capability before its rows are written: a concurrent batch may read the newest rows first and
    treat the capability as new."""
    warehouse = open_warehouse(settings, read_policy(settings.policy_file).bigquery)
    with warehouse.maintenance("beginning a drill") as session:
        session.register_drill(drill.capability, drill.first_day, pipeline.clock())


def forget(settings: Settings, drill: Drill, pipeline: Pipeline) -> None:
    """Removes the drill's capability from the registry, which otherwise keeps every capability, and publishes it."""
    warehouse = open_warehouse(settings, read_policy(settings.policy_file).bigquery)
    with warehouse.maintenance("ending a drill") as session:
        session.forget_drill(drill.capability)
        publish(session, settings.snapshot_folder, pipeline.clock(), only=("ai_audit_capabilities",))


def _fires(settings: Settings, drill: Drill, now: datetime) -> bool:
    """Whether the drill's rule has an open episode in the drill's environment, as its check in the UI shows."""
    rule = load_rules(settings.rules_folder).rule(RULE_OF[drill.name])
    if rule is None:
        return False
    facts = live_facts(settings, read_policy(settings.policy_file).lookback, now)
    result = judge(rule, facts.tables[rule.watch], facts.known_until_of(rule.watch), facts.calendar)
    return any(
        finding.environment == DRILLS and finding.dimension("capability") in ("", drill.capability)
        for finding in result.findings
    )


def quiet_since(name: DrillName, now: datetime, calendar: BusinessCalendar) -> datetime:
    """When the calls end (UTC): long enough before `now` for the rule to fire, in hours or in business hours."""
    since = now - _DROPPED
    while name == "silence" and business_minutes_between(calendar, since, now) * 60 < _SILENT.total_seconds():
        since -= timedelta(minutes=15)
    return since
