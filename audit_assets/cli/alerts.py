"""`audit alerts`: list alerts, manage silences, deliver and retry by hand."""

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.delivery import outbox, silences
from audit_assets.alerting.delivery.deliverer import count_waiting
from audit_assets.alerting.delivery.silences import Silence
from audit_assets.alerting.delivery.standalone import deliver_due, poll_due_acknowledgements
from audit_assets.alerting.delivery.watchdog import NEVER_EVALUATED
from audit_assets.alerting.ledger.listing import ListedAlert, deliveries_of, events_of, find_alert, newest_alerts
from audit_assets.alerting.ledger.store import last_evaluated_at
from audit_assets.alerting.ledger.tables import Ledger, open_ledger
from audit_assets.cli.clock import clock, now_utc
from audit_assets.cli.drill import list_drills
from audit_assets.cli.output import FAILED, AsJson, err, figures_table, format_value, out, print_json
from audit_assets.config.validation import did_you_mean, parse_duration
from audit_assets.ingest.windows import WindowError
from audit_assets.rules.load import load_rules
from audit_assets.settings import read_settings
from audit_assets.text.sanitize import escape

_LISTED = 50
_STATES = {"firing": "bold red", "recovering": "yellow", "resolved": "green"}

alerts_app = typer.Typer(help="Alerts, their notifications, and silences.", no_args_is_help=True)
alerts_app.command("drills")(list_drills)


@alerts_app.command("list")
def list_alerts(
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too, the newest 50.")] = False,
    as_json: AsJson = False,
) -> None:
    """List open episodes (newest first), active and planned silences, and deliveries that are waiting. Exits 1 if no
    rule has been judged yet: it is then unknown whether an alert should be open."""
    now = now_utc()
    with _ledger() as ledger, ledger.transaction() as connection:
        found = newest_alerts(connection, _LISTED, with_resolved=everything)
        active = silences.silences_at(connection, now, planned=True)
        left = count_waiting(connection)
        judged_at = last_evaluated_at(connection, now)
    is_unknown = judged_at is None and not found
    if as_json:
        listed = {"alerts": [asdict(each) for each in found], "silences": [asdict(silence) for silence in active]}
        print_json({**listed, "waiting": left, "judged_at": judged_at})
    else:
        _print_alerts(found, active, left, now, everything, is_unknown)
    if is_unknown:
        raise typer.Exit(FAILED)


def _print_alerts(
    found: Sequence[ListedAlert],
    active: Sequence[Silence],
    left: Mapping[str, int],
    now: datetime,
    everything: bool,
    is_unknown: bool,
) -> None:
    if found:
        out.print(_table(found))
    elif is_unknown:
        out.print(f"{NEVER_EVALUATED.capitalize()}.", soft_wrap=True)
    else:
        out.print("No alert is open." if not everything else "No alert has fired yet.")
    for silence in active:
        capability = silence.capability and escape(silence.capability)
        which = ", ".join(filter(None, (silence.rule_id, capability, silence.environment)))
        until = format_value(silence.ends_at)
        when = f"until {until}" if silence.starts_at <= now else f"{format_value(silence.starts_at)} to {until}"
        line = f"silence {silence.id}: {which} {when}, by {silence.created_by}: {escape(silence.reason)}"
        out.print(line, markup=False, soft_wrap=True)
    if left:
        err.print("waiting: " + ", ".join(f"{number} {status}" for status, number in sorted(left.items())))


@alerts_app.command("show")
def show(
    alert: Annotated[str, typer.Argument(metavar="ID", help="An alert key, or the end of one.")],
    as_json: AsJson = False,
) -> None:
    """Show an episode: its figures, its events and its deliveries."""
    with _ledger() as ledger, ledger.transaction() as connection:
        found = find_alert(connection, alert)
        happened, sent = events_of(connection, found.id), deliveries_of(connection, found.id)
    if as_json:
        print_json({
            **asdict(found),
            "events": [asdict(event) for event in happened],
            "deliveries": [asdict(delivery) for delivery in sent],
        })  # fmt: skip
        return
    out.print(figures_table({name: _display(value) for name, value in asdict(found).items()}))
    for event in happened:
        detail, run = f": {event.said}" if event.said else "", f"  run {event.run_id}" if event.run_id else ""
        out.print(f"{format_value(event.at)}  {event.kind}{detail}{run}", markup=False, soft_wrap=True)
    for delivery in sent:
        tries = f" after {delivery.attempts} attempts" if delivery.attempts > 1 else ""
        detail = f": {delivery.said}" if delivery.said and delivery.status != "sent" else ""
        line = f"{delivery.action} to {delivery.target}: {delivery.status}{tries}{detail}"
        out.print(line, markup=False, soft_wrap=True)


@alerts_app.command("silence")
def silence(
    rule: Annotated[str | None, typer.Option(help="A rule.")] = None,
    capability: Annotated[str | None, typer.Option(help="A capability.")] = None,
    environment: Annotated[str | None, typer.Option(help="live, or sim for drills.")] = None,
    length: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 3d.")] = "1h",
    start: Annotated[str | None, typer.Option("--from", help="Start, as 2026-11-01T08:00Z. Default: now.")] = None,
    reason: Annotated[str, typer.Option(help="Reason, shown with the silence.")] = "",
    as_json: AsJson = False,
) -> None:
    """Suppress notifications of alerts that open during the silence. Alerts that still fire when it ends are then
    delivered. With --from, plan a maintenance window."""
    if rule is not None:
        ids = load_rules(read_settings().rules_folder).ids
        if rule not in ids:
            raise WindowError(f"{rule}: no such rule{did_you_mean(rule, ids)}")
    now = now_utc()
    begins = _moment(start) if start else now
    try:
        ends = begins + parse_duration(length)
    except ValueError as error:
        raise WindowError(f"--for: {error}") from None
    requested = Silence(0, rule, capability, environment, begins, ends, reason, getpass.getuser())
    with _ledger() as ledger, ledger.transaction() as connection:
        created = silences.silence(connection, requested, now)
    if as_json:
        print_json({"id": created, "starts_at": begins, "ends_at": ends})
    else:
        span = f"{format_value(begins)} to {format_value(ends)}"
        out.print(f"silence {created}, {span}; `audit alerts unsilence {created}` ends it")


@alerts_app.command("unsilence")
def unsilence(silence_id: Annotated[int, typer.Argument(metavar="ID", help="The id of a silence.")]) -> None:
    """End a silence now. The next delivery run notifies of alerts that still fire."""
    with _ledger() as ledger, ledger.transaction() as connection:
        silences.unsilence(connection, silence_id, now_utc())
    out.print(f"silence {silence_id} has ended")


@alerts_app.command("deliver")
def deliver(
    seconds: Annotated[int, typer.Option(min=1, help="Time limit in seconds.")] = 40, as_json: AsJson = False
) -> None:
    """Send due deliveries and read acknowledgements, as the sensor does. Use it from cron where Dagster does not run.
    Exits 1 if a delivery was given up or a provider accepts none."""
    settings, until = read_settings(), now_utc() + timedelta(seconds=seconds)
    done, left = deliver_due(settings, Console(width=100, stderr=as_json), clock(), timedelta(seconds=seconds))
    read = poll_due_acknowledgements(settings, clock(), until)
    counted = {"sent": done.sent, "to_try_again": done.retried, "held": done.suppressed, "parked": done.parked}
    counted |= {"given_up": done.dead, "acknowledged": read.acknowledged}
    if as_json:
        print_json({**counted, "waiting": left, "acknowledgements_trouble": read.error})
    else:
        out.print(", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counted.items()))
        if read.error is not None:
            err.print(read.summary, markup=False, soft_wrap=True)
    if done.parked or done.dead:
        raise typer.Exit(FAILED)


@alerts_app.command("retry")
def retry(as_json: AsJson = False) -> None:
    """Queue again the deliveries that were given up or parked (for example until a token is fixed) and still apply."""
    with _ledger() as ledger, ledger.transaction() as connection:
        number, left = outbox.retry_dead(connection)
    if as_json:
        print_json({"again": number})
    else:
        out.print(f"{number} queued again; the sensor or `audit alerts deliver` sends them")
        if left:
            out.print(f"{left} not queued: the alert has ended, or a newer message was sent since")


def _ledger() -> Ledger:
    return open_ledger(read_settings().ledger_url)


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise WindowError(f"--from {text}: not a time; write 2026-11-01T08:00Z") from None
    if at.tzinfo is None:
        raise WindowError(f"--from {text}: has no time zone; add Z for UTC")
    return at.astimezone(UTC)


def _display(value: object) -> object:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        return ", ".join(f"{name}={escape(str(item))}" for name, item in items) or "all"
    return f"{value:,.4g}" if isinstance(value, float) else value


def _table(found: Sequence[ListedAlert]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    with_acks = any(alert.acknowledged_at is not None for alert in found)
    acknowledged = ["acked (UTC)"] if with_acks else []
    for heading in ("state", "rule", "scope", "value", "usual", "since (UTC)", *acknowledged, "id"):
        table.add_column(heading, justify="right" if heading in ("value", "usual") else "left", overflow="fold")
    for alert in found:
        names = ", ".join(escape(str(value)) for value in alert.dimensions.values()) or "all capabilities"
        figures = ("" if value is None else f"{value:,.4g}" for value in (alert.value, alert.baseline))
        drill = "" if alert.environment == "live" else f" ({alert.environment})"
        state = Text(alert.state, _STATES.get(alert.state, ""))
        since, by = f"{alert.since:%m-%d %H:%M}", [Text(_acknowledgement(alert))] if with_acks else []
        table.add_row(state, alert.rule_id, Text(names + drill), *figures, since, *by, alert.id)
    return table


def _acknowledgement(alert: ListedAlert) -> str:
    at = alert.acknowledged_at
    return "" if at is None else f"{at:%m-%d %H:%M} by {escape(alert.acknowledged_by or '')}"
