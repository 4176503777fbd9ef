"""`audit simulate spike|drop|errors|silence|new-capability`: drills that make a check fail and recover."""

import math
import os
import secrets
import sys
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy import insert

from audit_assets.alerting.delivery.outbox import CLOSING_ACTIONS, OPENING_ACTIONS, drill_deliveries
from audit_assets.alerting.inputs import live_facts
from audit_assets.alerting.ledger.tables import drills, open_ledger
from audit_assets.alerting.notify.notification import DRILLS
from audit_assets.cli.clock import clock, now_utc
from audit_assets.cli.deliver import deliver_due
from audit_assets.cli.output import FAILED, AsJson, err, format_value, out, print_json
from audit_assets.cli.pipeline_runner import BuildOutcome, prepare_instance, run_build, run_rules
from audit_assets.cli.source import writable_source_url
from audit_assets.drills.traffic import (
    RULE_OF,
    Drill,
    DrillName,
    add_history,
    begin_anomaly,
    end_anomaly,
    remove,
)
from audit_assets.ingest.policy import read_policy
from audit_assets.named_lock import acquire_lock, is_locked, read_holder
from audit_assets.rules.business_clock import BusinessCalendar, business_minutes_between, read_calendar
from audit_assets.rules.judge import judge
from audit_assets.rules.load import load_rules
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.factory import open_warehouse
from audit_assets.warehouse.snapshot import publish

_DROPPED = timedelta(hours=8)  # how long the calls of a drop have been missing: visible in every window of hours
_SILENT = timedelta(minutes=150)  # of business time
_DELIVERED_WITHIN_SECONDS = 60  # the lease time of a row that the sensor claimed


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


WriteToSource = Annotated[bool, typer.Option("--write-to-source", help="Required if AI_AUDIT_SOURCE_URL is set.")]


def spike(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: six times the usual calls. Makes volume_spike fail and recover, then cleans up."""
    _drill("spike", write_to_source, as_json)


def drop(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: the calls of one capability stop. Makes volume_drop fail and recover, then cleans up."""
    _drill("drop", write_to_source, as_json)


def errors(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: every second call fails. Makes error_surge fail and recover, then cleans up."""
    _drill("errors", write_to_source, as_json)


def silence(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: no call for two and a half business hours. Makes no_recent_logs fail and recover, then cleans up."""
    _drill("silence", write_to_source, as_json)


def new_capability(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: calls of an unknown capability. Makes new_capability fail and recover, then cleans up."""
    _drill("new-capability", write_to_source, as_json)


def _drill(name: DrillName, write_to_source: bool, as_json: bool) -> None:
    settings = read_settings()
    url = writable_source_url(settings, write_to_source)
    prepare_instance(settings)
    with only_drill(settings.home / "drill.lock", name):
        now = now_utc()
        drill = Drill(name, secrets.token_hex(3), now, _quiet_since(name, now, read_calendar(settings.calendar_file)))
        err.print(f"drill {drill.drill_id}: {name}, expects {RULE_OF[name]}; its rows are marked and will be deleted")
        with redirect_stdout(sys.stderr) if as_json else nullcontext():  # findings go to stderr, only JSON to stdout
            outcome = _run_and_clean_up(settings, url, drill)
        _record_outcome(settings, drill, outcome)
    if as_json:
        print_json({**outcome.__dict__, "passed": outcome.passed})
    else:
        _print(outcome)
    if not outcome.passed:
        raise typer.Exit(FAILED)


@contextmanager
def only_drill(lock: Path, name: DrillName) -> Generator[None]:
    """Waits until no other drill runs in this home. Drills share an environment, so the calls of one drill would hide
    the silence of another."""
    if is_locked(lock):
        holder = read_holder(lock) or {}
        err.print(f"waiting for another drill to end: {holder.get('drill', 'starting')}", markup=False)
    descriptor = acquire_lock(lock, {"drill": name}, timeout_seconds=math.inf)
    try:
        yield
    finally:
        os.close(descriptor)


def _run_and_clean_up(settings: Settings, url: str, drill: Drill) -> DrillOutcome:
    try:
        return _run(settings, url, drill)
    finally:
        remove(url, drill)
        _build(settings, drill.first_day.date())
        forget(settings, drill)
        err.print("cleaned up: no row of the drill is left in the source or the warehouse")


def _run(settings: Settings, url: str, drill: Drill) -> DrillOutcome:
    if drill.name != "new-capability":
        _register(settings, drill)
        rows = add_history(url, drill)
        err.print(f"{rows:,} ordinary rows over 28 days loaded as a baseline")
        _build(settings, drill.first_day.date())
    if _fires(settings, drill):
        err.print(f"[yellow]{RULE_OF[drill.name]} already fires on the ordinary rows[/]")
    began = now_utc()  # loading the history took time; the anomaly ends now
    begin_anomaly(url, replace(drill, now=began))
    _build(settings, (drill.now - _DROPPED).date())
    detected = _seconds_since(began) if _fires(settings, drill) else None
    opened = _deliver(settings, drill, OPENING_ACTIONS)
    ended = now_utc()
    end_anomaly(url, drill)
    recover(settings, drill)
    recovered = None if _fires(settings, drill) else _seconds_since(ended)
    closed = _deliver(settings, drill, CLOSING_ACTIONS)
    return DrillOutcome(
        drill.name, RULE_OF[drill.name], drill.capability, drill.now, detected, recovered, len(opened), len(set(closed))
    )


def recover(settings: Settings, drill: Drill) -> None:
    """Syncs and judges after the anomaly has ended. A new capability is removed from the registry only after its rows
    left the warehouse: otherwise a concurrent batch would register and announce it again."""
    _build(settings, (drill.now - _DROPPED).date())
    if drill.name == "new-capability":
        forget(settings, drill)
        _report(run_rules(settings, clock().fixed_at))


def _seconds_since(moment: datetime) -> float:
    return (now_utc() - moment).total_seconds()


def _deliver(settings: Settings, drill: Drill, actions: Collection[str]) -> list[str]:
    """Sends the drill's due deliveries, concurrently with the sensor. Returns the targets of its sent deliveries that
    have one of `actions`, whichever process sent them."""
    until = time.monotonic() + _DELIVERED_WITHIN_SECONDS
    while True:
        deliver_due(settings, err)
        with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
            rows = drill_deliveries(connection, RULE_OF[drill.name], drill.capability, drill.now)
        if time.monotonic() > until or not any(row.status in ("pending", "inflight") for row in rows):
            return [row.target for row in rows if row.status == "sent" and row.action in actions]
        time.sleep(0.5)


def _register(settings: Settings, drill: Drill) -> None:
    """Registers the capability before its rows are written: a concurrent batch may read the newest rows first and
    treat the capability as new."""
    with open_warehouse(settings, read_policy(settings.policy_file).bigquery).maintenance(
        "beginning a drill"
    ) as session:
        session.register_drill(drill.capability, drill.first_day, now_utc())


def forget(settings: Settings, drill: Drill) -> None:
    """Removes the drill's capability from the registry, which otherwise keeps every capability, and publishes it."""
    warehouse = open_warehouse(settings, read_policy(settings.policy_file).bigquery)
    with warehouse.maintenance("ending a drill") as session:
        session.forget_drill(drill.capability)
        publish(session, settings.snapshot_folder, now_utc(), only=("ai_audit_capabilities",))


def _build(settings: Settings, first: date) -> None:
    _report(run_build(settings, first, clock().today(), "days", clock().fixed_at))


def _report(outcome: BuildOutcome) -> None:
    if not outcome.succeeded:
        err.print(Text(outcome.failure or "the run failed", "red"))


def _fires(settings: Settings, drill: Drill) -> bool:
    """Whether the drill's rule has an open episode in the drill's environment, as its check in the UI shows."""
    rule = load_rules(settings.rules_folder).rule(RULE_OF[drill.name])
    if rule is None:
        return False
    facts = live_facts(settings, read_policy(settings.policy_file).lookback, now_utc())
    result = judge(rule, facts.tables[rule.watch], facts.known_until_of(rule.watch), facts.calendar)
    return any(
        finding.environment == DRILLS and finding.dimension("capability") in ("", drill.capability)
        for finding in result.findings
    )


def _quiet_since(name: DrillName, now: datetime, calendar: BusinessCalendar) -> datetime:
    """When the calls end (UTC): long enough before `now` for the rule to fire, in hours or in business hours."""
    since = now - _DROPPED
    while name == "silence" and business_minutes_between(calendar, since, now) * 60 < _SILENT.total_seconds():
        since -= timedelta(minutes=15)
    return since


def _record_outcome(settings: Settings, drill: Drill, outcome: DrillOutcome) -> None:
    """Stores the outcome in the ledger, where routes that wait for a passed drill look it up."""
    with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
        connection.execute(
            insert(drills).values(
                id=drill.drill_id, drill=outcome.drill, rule_id=outcome.rule, capability=outcome.capability,
                began_at=outcome.began_at, detected_after_seconds=outcome.detected_after_seconds,
                recovered_after_seconds=outcome.recovered_after_seconds, passed=outcome.passed,
                told=outcome.sent_when_opened,
            )
        )  # fmt: skip


def _print(outcome: DrillOutcome) -> None:
    def seconds(took: float | None, what: str) -> str:
        return f"{what} after {took:.0f} s" if took is not None else f"not {what}"

    result = "[green]passed[/]" if outcome.passed else "[bold red]failed[/]"
    detected = seconds(outcome.detected_after_seconds, "detected")
    recovered = seconds(outcome.recovered_after_seconds, "recovered")
    out.print(f"{result} {outcome.drill}: {outcome.rule} {detected}, {recovered}")
    opened, closed = outcome.sent_when_opened, outcome.sent_when_resolved
    out.print(f"messages and incidents: {opened} opened, {closed} of them closed")
    out.print(f"began {format_value(outcome.began_at)} on {outcome.capability}; recorded in the alert ledger")
