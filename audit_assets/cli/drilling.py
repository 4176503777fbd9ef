"""`audit simulate spike|drop|errors|silence|new-capability`: a drill, from made rows to a failing check and back."""

import secrets
import sys
import time
from collections.abc import Collection
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy import insert, select

from audit_assets.alerting.ledger import deliveries, drills, open_ledger
from audit_assets.alerting.live_facts import live_facts
from audit_assets.alerting.outbox import FIRST_WORDS, LAST_WORDS, UNENDED
from audit_assets.cli.delivering import deliver_due
from audit_assets.cli.headless import prepare_instance, run_build
from audit_assets.cli.screen import FAILED, AsJson, err, out, print_json, told
from audit_assets.cli.source import writable
from audit_assets.ingest.policy import read_policy
from audit_assets.rules.business_clock import business_minutes_between
from audit_assets.rules.calendar import BusinessCalendar, read_calendar
from audit_assets.rules.judge import judge
from audit_assets.rules.load import load_rules
from audit_assets.settings import Settings, read_settings
from audit_assets.simulate.drills import (
    RULE_OF,
    Drill,
    DrillName,
    add_history,
    begin_trouble,
    end_trouble,
    remove,
)
from audit_assets.warehouse.opening import open_warehouse
from audit_assets.warehouse.snapshot import publish

_DROPPED = timedelta(hours=8)  # how long the calls of a drop have been missing: any window of hours sees it
_SILENT = timedelta(minutes=150)  # of business time
_TOLD_WITHIN_SECONDS = 20
_RECOVERIES = 2  # a batch beside us may have registered a new capability again before its rows were gone


@dataclass(frozen=True)
class DrillOutcome:
    """What a drill showed: whether its check failed and recovered, how long each took, and how many were told so: a
    message or an incident counts one. Times are UTC."""

    drill: DrillName
    rule: str
    capability: str
    began_at: datetime
    detected_after_seconds: float | None
    recovered_after_seconds: float | None
    told_of_its_beginning: int
    told_of_its_end: int

    @property
    def passed(self) -> bool:
        seen = self.detected_after_seconds is not None and self.recovered_after_seconds is not None
        return seen and 0 < self.told_of_its_beginning == self.told_of_its_end


WriteToSource = Annotated[
    bool, typer.Option("--write-to-source", help="Needed where AI_AUDIT_SOURCE_URL names the source.")
]


def spike(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: six times the calls. Shows the check of volume_spike failing and recovering, then cleans up."""
    _drill("spike", write_to_source, as_json)


def drop(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: calls stop while others go on. Shows volume_drop failing and recovering, then cleans up."""
    _drill("drop", write_to_source, as_json)


def errors(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: every second call fails. Shows error_surge failing and recovering, then cleans up."""
    _drill("errors", write_to_source, as_json)


def silence(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: no call for two and a half hours of business time. Shows no_recent_logs, then cleans up."""
    _drill("silence", write_to_source, as_json)


def new_capability(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: a capability nobody has seen. Shows new_capability failing and recovering, then cleans up."""
    _drill("new-capability", write_to_source, as_json)


def _drill(name: DrillName, write_to_source: bool, as_json: bool) -> None:
    settings = read_settings()
    url = writable(settings, write_to_source)
    prepare_instance(settings)
    now = datetime.now(UTC)
    drill = Drill(name, secrets.token_hex(3), now, _quiet_since(name, now, read_calendar(settings.calendar_file)))
    err.print(f"drill {drill.drill_id}: {name}, watched by {RULE_OF[name]}; its rows are marked and go again")
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # findings are told, the JSON stays alone
        outcome = _from_trouble_to_nothing(settings, url, drill)
    _remember(settings, drill, outcome)
    if as_json:
        print_json({**outcome.__dict__, "passed": outcome.passed})
    else:
        _print(outcome)
    if not outcome.passed:
        raise typer.Exit(FAILED)


def _from_trouble_to_nothing(settings: Settings, url: str, drill: Drill) -> DrillOutcome:
    try:
        return _run(settings, url, drill)
    finally:
        remove(url, drill)
        _build(settings, drill.first_day.date())
        _forget(settings, drill)  # last: a batch beside us registers whatever raw still holds
        err.print("cleaned up: no made row is left in the source and the warehouse")


def _run(settings: Settings, url: str, drill: Drill) -> DrillOutcome:
    rows = add_history(url, drill)
    if rows:
        err.print(f"{rows:,} ordinary rows of 28 days are loaded, so that there is something to compare with")
        _build(settings, drill.first_day.date())
    if _fires(settings, drill):
        err.print(f"[yellow]{RULE_OF[drill.name]} fires on the ordinary rows already[/]")
    detected = _timed(settings, drill, begin_trouble(url, drill), True)
    told = _told(settings, drill, FIRST_WORDS)
    end_trouble(url, drill)
    ended = datetime.now(UTC)
    recovered = None
    for _ in range(_RECOVERIES):
        _forget(settings, drill)
        recovered = _timed(settings, drill, ended, False)
        if recovered is not None:
            break
    told_end = _told(settings, drill, LAST_WORDS)
    return DrillOutcome(
        drill.name, RULE_OF[drill.name], drill.capability, drill.now, detected, recovered, told, told_end
    )


def _told(settings: Settings, drill: Drill, actions: Collection[str]) -> int:
    """Sends what is due of the drill, beside the sensor, and says how many were told with one of these actions."""
    mine = (
        deliveries.c.group_key.startswith(f"ai-audit/sim/{RULE_OF[drill.name]}/"),
        deliveries.c.created_at >= drill.now,
    )
    until = time.monotonic() + _TOLD_WITHIN_SECONDS
    while True:
        deliver_due(settings, err)
        with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
            rows = connection.execute(select(deliveries.c.action, deliveries.c.status).where(*mine)).all()
        if time.monotonic() > until or not any(row.status in UNENDED for row in rows):
            return sum(row.status == "sent" and row.action in actions for row in rows)
        time.sleep(0.5)


def _timed(settings: Settings, drill: Drill, since: datetime, fires: bool) -> float | None:
    """Seconds from `since` until one run of the sync job, with its checks, says whether the rule fires; None where it
    says otherwise."""
    _build(settings, (drill.now - _DROPPED).date())
    if _fires(settings, drill) is not fires:
        return None
    return (datetime.now(UTC) - since).total_seconds()


def _forget(settings: Settings, drill: Drill) -> None:
    """The registry keeps what it has seen; a drill is not to be kept, nor to be read by anybody."""
    warehouse = open_warehouse(settings, read_policy(settings.policy_file).bigquery)
    with warehouse.keeper("ending a drill") as keeper:
        keeper.forget_drill(drill.capability)
        publish(keeper, settings.snapshot_folder, datetime.now(UTC), only=("ai_audit_capabilities",))


def _build(settings: Settings, first: date) -> None:
    outcome = run_build(settings, first, datetime.now(UTC).date(), "days")
    if not outcome.succeeded:
        err.print(Text(outcome.failure or "the run failed", "red"))


def _fires(settings: Settings, drill: Drill) -> bool:
    """Whether the drill's rule has an open episode in the drill's environment: what its check in the UI shows."""
    rule = load_rules(settings.rules_folder).rule(RULE_OF[drill.name])
    if rule is None:
        return False
    facts = live_facts(settings, read_policy(settings.policy_file).lookback, datetime.now(UTC))
    verdict = judge(rule, facts.tables[rule.watch], facts.as_of, facts.calendar)
    return any(
        finding.environment == "sim" and finding.dimension("capability") in ("", drill.capability)
        for finding in verdict.findings
    )


def _quiet_since(name: DrillName, now: datetime, calendar: BusinessCalendar) -> datetime:
    """Where the calls end: so long ago that the rule's time has passed, in hours or in business hours."""
    since = now - _DROPPED
    while name == "silence" and business_minutes_between(calendar, since, now) * 60 < _SILENT.total_seconds():
        since -= timedelta(minutes=15)
    return since


def _remember(settings: Settings, drill: Drill, outcome: DrillOutcome) -> None:
    """Keeps the outcome in the ledger: routes that wait for a drill ask for it there."""
    with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
        connection.execute(
            insert(drills).values(
                id=drill.drill_id, drill=outcome.drill, rule_id=outcome.rule, capability=outcome.capability,
                began_at=outcome.began_at, detected_after_seconds=outcome.detected_after_seconds,
                recovered_after_seconds=outcome.recovered_after_seconds, passed=outcome.passed,
                told=outcome.told_of_its_beginning,
            )
        )  # fmt: skip


def _print(outcome: DrillOutcome) -> None:
    def seconds(took: float | None, what: str) -> str:
        return f"{what} after {took:.0f} s" if took is not None else f"not {what}"

    verdict = "[green]passed[/]" if outcome.passed else "[bold red]failed[/]"
    detected = seconds(outcome.detected_after_seconds, "detected")
    out.print(
        f"{verdict} {outcome.drill}: {outcome.rule} {detected}, {seconds(outcome.recovered_after_seconds, 'recovered')}"
    )
    out.print(f"began {told(outcome.began_at)} on {outcome.capability}; on record in the alert ledger")
