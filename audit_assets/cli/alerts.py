"""`audit alerts`: list alerts, manage silences, deliver and retry by hand."""

import getpass
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import or_, select
from sqlalchemy.engine import Connection

from audit_assets.alerting.delivery import outbox, silences
from audit_assets.alerting.delivery.deliverer import count_waiting
from audit_assets.alerting.delivery.silences import Silence
from audit_assets.alerting.delivery.watchdog import NEVER_EVALUATED
from audit_assets.alerting.ledger.store import last_evaluated_at
from audit_assets.alerting.ledger.tables import Ledger, alerts, deliveries, events, open_ledger
from audit_assets.cli.clock import now_utc
from audit_assets.cli.deliver import deliver_due, read_back_due
from audit_assets.cli.drill_record import list_drills
from audit_assets.cli.output import FAILED, AsJson, err, figures_table, format_value, out, print_json
from audit_assets.config.durations import parse_duration
from audit_assets.config.validation import did_you_mean
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
        chosen = select(alerts).order_by(alerts.c.opened_at.desc(), alerts.c.key).limit(_LISTED)
        if not everything:
            chosen = chosen.where(alerts.c.resolved_at.is_(None))
        found = [_alert(row) for row in connection.execute(chosen)]
        active = silences.silences_at(connection, now, planned=True)
        left = count_waiting(connection)
        judged_at = last_evaluated_at(connection, now)
    is_unknown = judged_at is None and not found
    if as_json:
        listed = [{name: getattr(silence, name) for name in Silence.__dataclass_fields__} for silence in active]
        print_json({"alerts": found, "silences": listed, "waiting": left, "judged_at": judged_at})
    else:
        _print_alerts(found, active, left, now, everything, is_unknown)
    if is_unknown:
        raise typer.Exit(FAILED)


def _print_alerts(
    found: list[dict[str, Any]],
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
        row = alert_row(connection, alert)
        happened = connection.execute(select(events).where(events.c.key == row.key).order_by(events.c.id)).all()
        mine = or_(deliveries.c.alert_key == row.key, deliveries.c.group_key == row.group_key)
        sent = connection.execute(select(deliveries).where(mine).order_by(deliveries.c.seq)).all()
    sent = [delivery for delivery in sent if delivery.alert_key in (None, row.key)]
    if as_json:
        print_json({
            **_alert(row),
            "events": [
                {"at": event.at, "kind": event.kind, "said": event.said, "run_id": event.run_id} for event in happened
            ],
            "deliveries": [_delivery(delivery) for delivery in sent],
        })  # fmt: skip
        return
    out.print(figures_table({name: _display(value) for name, value in _alert(row).items()}))
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
    done, left = deliver_due(settings, Console(width=100, stderr=as_json), timedelta(seconds=seconds))
    read = read_back_due(settings, until)
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


def alert_row(connection: Connection, text: str) -> Any:
    """The row of the alert whose key is `text` or ends with it. Raises WindowError if there is none or several."""
    found = connection.execute(select(alerts).where(alerts.c.key.endswith(text, autoescape=True)).limit(2)).all()
    if not found:
        raise WindowError(f"{escape(text)}: no such alert; `audit alerts list --all` lists them")
    if len(found) > 1:
        raise WindowError(f"{escape(text)}: matches more than one key; give more characters of it")
    return found[0]


def _alert(row: Any) -> dict[str, Any]:
    names = (
        "rule_id", "environment", "state", "severity", "since", "opened_at", "resolved_at", "resolve_reason", "value",
        "baseline", "threshold", "delta_percent", "peak", "window_start", "window_end", "run_id", "acknowledged_at",
        "acknowledged_by",
    )  # fmt: skip
    return {"id": row.key, "dimensions": json.loads(row.dimensions), **{name: getattr(row, name) for name in names}}


def _delivery(row: Any) -> dict[str, Any]:
    names = ("id", "target", "action", "status", "attempts", "said", "reference", "created_at", "ended_at")
    return {name: getattr(row, name) for name in names}


def _display(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={escape(str(item))}" for name, item in value.items()) or "all"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return f"{value:,.4g}" if isinstance(value, float) else value


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    with_acks = any(alert["acknowledged_at"] is not None for alert in found)
    acknowledged = ["acked (UTC)"] if with_acks else []
    for heading in ("state", "rule", "scope", "value", "usual", "since (UTC)", *acknowledged, "id"):
        table.add_column(heading, justify="right" if heading in ("value", "usual") else "left", overflow="fold")
    for alert in found:
        names = ", ".join(escape(str(value)) for value in alert["dimensions"].values()) or "all capabilities"
        figures = ("" if alert[name] is None else f"{alert[name]:,.4g}" for name in ("value", "baseline"))
        drill = "" if alert["environment"] == "live" else f" ({alert['environment']})"
        state = Text(alert["state"], _STATES.get(alert["state"], ""))
        since, by = f"{alert['since']:%m-%d %H:%M}", [Text(_acknowledgement(alert))] if with_acks else []
        table.add_row(state, alert["rule_id"], Text(names + drill), *figures, since, *by, alert["id"])
    return table


def _acknowledgement(alert: Mapping[str, Any]) -> str:
    at = alert["acknowledged_at"]
    return "" if at is None else f"{at:%m-%d %H:%M} by {escape(alert['acknowledged_by'])}"
