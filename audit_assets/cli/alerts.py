"""`audit alerts`: the ledger read, silenced, delivered and mended by hand."""

import getpass
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import or_, select, update
from sqlalchemy.engine import Connection

from audit_assets.alerting import silences
from audit_assets.alerting.deliverer import waiting
from audit_assets.alerting.ledger import Ledger, alerts, deliveries, events, open_ledger
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.silences import Silence
from audit_assets.cli.delivering import deliver_due, read_back_due
from audit_assets.cli.drill_record import list_drills
from audit_assets.cli.screen import FAILED, AsJson, err, figures_table, out, print_json, told
from audit_assets.ingest.windows import WindowError
from audit_assets.rules.durations import parse_duration
from audit_assets.rules.load import load_rules
from audit_assets.rules.spelling import did_you_mean
from audit_assets.settings import read_settings

_LISTED = 50
_STATES = {"firing": "bold red", "recovering": "yellow", "resolved": "green"}

alerts_app = typer.Typer(help="What fired, who was told, and what is silenced.", no_args_is_help=True)
alerts_app.command("drills")(list_drills)


@alerts_app.command("list")
def list_alerts(
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too, the newest 50.")] = False,
    as_json: AsJson = False,
) -> None:
    """Open episodes, newest first, silences in force and planned, and what waits to be delivered."""
    now = datetime.now(UTC)
    with _ledger() as ledger, ledger.transaction() as connection:
        chosen = select(alerts).order_by(alerts.c.opened_at.desc(), alerts.c.key).limit(_LISTED)
        if not everything:
            chosen = chosen.where(alerts.c.resolved_at.is_(None))
        found = [_alert(row) for row in connection.execute(chosen)]
        quiet = silences.silences_at(connection, now, planned=True)
        left = waiting(connection)
    if as_json:
        listed = [{name: getattr(one, name) for name in Silence.__dataclass_fields__} for one in quiet]
        print_json({"alerts": found, "silences": listed, "waiting": left})
        return
    if found:
        out.print(_table(found))
    else:
        out.print("Nothing is open." if not everything else "Nothing has fired yet.")
    for one in quiet:
        which = ", ".join(filter(None, (one.rule_id, one.capability and shown(one.capability), one.environment)))
        when = f"until {told(one.ends_at)}" if one.starts_at <= now else f"{told(one.starts_at)} to {told(one.ends_at)}"
        out.print(
            f"silence {one.id}: {which} {when}, by {one.created_by}: {shown(one.reason)}", markup=False, soft_wrap=True
        )
    if left:
        err.print("waiting: " + ", ".join(f"{number} {status}" for status, number in sorted(left.items())))


@alerts_app.command("show")
def show(
    alert: Annotated[str, typer.Argument(metavar="ID", help="A key, or its end.")], as_json: AsJson = False
) -> None:
    """One episode: its figures, what happened to it, and what was sent to whom."""
    with _ledger() as ledger, ledger.transaction() as connection:
        row = alert_row(connection, alert)
        happened = connection.execute(select(events).where(events.c.key == row.key).order_by(events.c.id)).all()
        mine = or_(deliveries.c.alert_key == row.key, deliveries.c.group_key == row.group_key)
        sent = connection.execute(select(deliveries).where(mine).order_by(deliveries.c.seq)).all()
    sent = [one for one in sent if one.alert_key in (None, row.key)]
    if as_json:
        print_json({
            **_alert(row),
            "events": [{"at": one.at, "kind": one.kind, "said": one.said, "run_id": one.run_id} for one in happened],
            "deliveries": [_delivery(one) for one in sent],
        })  # fmt: skip
        return
    out.print(figures_table({name: _shown(value) for name, value in _alert(row).items()}))
    for one in happened:
        said, run = f": {one.said}" if one.said else "", f"  run {one.run_id}" if one.run_id else ""
        out.print(f"{told(one.at)}  {one.kind}{said}{run}", markup=False, soft_wrap=True)
    for one in sent:
        tries = f" after {one.attempts} attempts" if one.attempts > 1 else ""
        said = f": {one.said}" if one.said and one.status != "sent" else ""
        out.print(f"{one.action} to {one.target}: {one.status}{tries}{said}", markup=False, soft_wrap=True)


@alerts_app.command("silence")
def silence(
    rule: Annotated[str | None, typer.Option(help="A rule.")] = None,
    capability: Annotated[str | None, typer.Option(help="A capability.")] = None,
    environment: Annotated[str | None, typer.Option(help="live, or sim for drills.")] = None,
    length: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 3d.")] = "1h",
    start: Annotated[str | None, typer.Option("--from", help="When, as 2026-11-01T08:00Z. Default: now.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever finds it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell nobody of what opens meanwhile. What still fires afterwards is told then; with --from, a planned window."""
    if rule is not None:
        ids = load_rules(read_settings().rules_folder).ids
        if rule not in ids:
            raise WindowError(f"{rule}: no such rule{did_you_mean(rule, ids)}")
    now = datetime.now(UTC)
    begins = _moment(start) if start else now
    try:
        ends = begins + parse_duration(length)
    except ValueError as error:
        raise WindowError(f"--for: {error}") from None
    asked = Silence(0, rule, capability, environment, begins, ends, reason, getpass.getuser())
    with _ledger() as ledger, ledger.transaction() as connection:
        made = silences.silence(connection, asked, now)
    if as_json:
        print_json({"id": made, "starts_at": begins, "ends_at": ends})
    else:
        out.print(f"silence {made}, {told(begins)} to {told(ends)}; `audit alerts unsilence {made}` ends it")


@alerts_app.command("unsilence")
def unsilence(silence_id: Annotated[int, typer.Argument(metavar="ID", help="The number of a silence.")]) -> None:
    """End a silence now. What still fires is told by the next delivering."""
    with _ledger() as ledger, ledger.transaction() as connection:
        silences.unsilence(connection, silence_id, datetime.now(UTC))
    out.print(f"silence {silence_id} is over")


@alerts_app.command("deliver")
def deliver(
    seconds: Annotated[int, typer.Option(min=1, help="How long to go on at most.")] = 40, as_json: AsJson = False
) -> None:
    """Send what is due and read back who took it, as the sensor does; for places without Dagster, from cron. Exits 1
    where something was given up or a provider takes nothing."""
    settings, until = read_settings(), datetime.now(UTC) + timedelta(seconds=seconds)
    done, left = deliver_due(settings, Console(width=100, stderr=as_json), timedelta(seconds=seconds))
    read = read_back_due(settings, until)
    counted = {"sent": done.sent, "to_try_again": done.again, "held": done.held, "parked": done.parked}
    counted |= {"given_up": done.dead, "acknowledged": read.acknowledged}
    if as_json:
        print_json({**counted, "waiting": left, "acknowledgements_trouble": read.trouble})
    else:
        out.print(", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counted.items()))
        if read.trouble is not None:
            err.print(read.said, markup=False, soft_wrap=True)
    if done.parked or done.dead:
        raise typer.Exit(FAILED)


@alerts_app.command("retry")
def retry(as_json: AsJson = False) -> None:
    """Put what was given up, or waits for a mended token, back in line now."""
    with _ledger() as ledger, ledger.transaction() as connection:
        again = deliveries.c.status.in_(("dead", "parked"))
        back = {"status": "pending", "not_before": None, "ended_at": None, "first_attempt_at": None}
        number = connection.execute(update(deliveries).where(again).values(**back)).rowcount
    if as_json:
        print_json({"again": number})
    else:
        out.print(f"{number} are in line again; the sensor sends them, or `audit alerts deliver`")


def _ledger() -> Ledger:
    return open_ledger(read_settings().ledger_url)


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise WindowError(f"--from {text}: not a time; write 2026-11-01T08:00Z") from None
    if at.tzinfo is None:
        raise WindowError(f"--from {text}: says no time zone; add Z for UTC")
    return at.astimezone(UTC)


def alert_row(connection: Connection, text: str) -> Any:
    """The one alert whose key is `text`, or ends with it. Raises WindowError."""
    found = connection.execute(select(alerts).where(alerts.c.key.endswith(text, autoescape=True)).limit(2)).all()
    if not found:
        raise WindowError(f"{shown(text)}: no such alert; `audit alerts list --all` names them")
    if len(found) > 1:
        raise WindowError(f"{shown(text)}: ends more than one key; give more of it")
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


def _shown(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={shown(str(one))}" for name, one in value.items()) or "all"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return f"{value:,.4g}" if isinstance(value, float) else value


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    taken = any(one["acknowledged_at"] is not None for one in found)
    for heading in ("state", "rule", "of", "value", "usual", "since (UTC)", *(["taken (UTC)"] if taken else []), "id"):
        table.add_column(heading, justify="right" if heading in ("value", "usual") else "left", overflow="fold")
    for one in found:
        names = ", ".join(shown(str(value)) for value in one["dimensions"].values()) or "all capabilities"
        figures = ("" if one[name] is None else f"{one[name]:,.4g}" for name in ("value", "baseline"))
        drill = "" if one["environment"] == "live" else f" ({one['environment']})"
        state = Text(one["state"], _STATES.get(one["state"], ""))
        since, by = f"{one['since']:%m-%d %H:%M}", [Text(_taken(one))] if taken else []
        table.add_row(state, one["rule_id"], Text(names + drill), *figures, since, *by, one["id"])
    return table


def _taken(one: Mapping[str, Any]) -> str:
    at = one["acknowledged_at"]
    return "" if at is None else f"{at:%m-%d %H:%M} by {shown(one['acknowledged_by'])}"
