"""`audit remediate`: a runaway capability disabled, planned by one person, approved by another, sent once."""

import getpass
import json
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import Connection

from audit_assets.alerting import remediations
from audit_assets.alerting.ledger import open_ledger
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.remediation import Remediation, RemediationError, next_step, request_of
from audit_assets.alerting.webhook_client import WebhookClient, shown_address
from audit_assets.cli.alerts import alert_row
from audit_assets.cli.screen import FAILED, AsJson, err, out, print_json
from audit_assets.settings import Settings, read_settings

_LISTED = 50
_STATES = {"applied": "green", "unknown": "bold red", "failed": "bold red", "approved": "yellow", "applying": "yellow"}

PlanId = Annotated[str, typer.Argument(metavar="ID", help="The id of a plan.")]
By = Annotated[str, typer.Option("--by", help="Who you are, for the record.")]

remediate_app = typer.Typer(
    help="Disable a runaway capability: planned, approved by somebody else, then sent.", no_args_is_help=True
)


@remediate_app.command("plan")
def plan(
    alert: Annotated[str, typer.Argument(metavar="ALERT_ID", help="The key of an open alert, or its end.")],
    by: By,
    reason: Annotated[str, typer.Option(help="Why, for whoever approves it.")],
    as_json: AsJson = False,
) -> None:
    """Plan to disable the capability of an open alert, and show the request. Nothing is sent."""
    settings, now = read_settings(), datetime.now(UTC)
    with _transaction(settings) as connection:
        made = remediations.plan(connection, alert_row(connection, alert).key, secrets.token_hex(6), by, reason, now)
    _tell(made, settings, now, as_json)


@remediate_app.command("approve")
def approve(plan_id: PlanId, by: By, as_json: AsJson = False) -> None:
    """Approve a plan of somebody else, within an hour. Nothing is sent."""
    settings, now = read_settings(), datetime.now(UTC)
    with _transaction(settings) as connection:
        made = remediations.approve(connection, plan_id, by, now)
    _tell(made, settings, now, as_json)


@remediate_app.command("apply")
def apply(
    plan_id: PlanId,
    by: Annotated[str, typer.Option("--by", help="Who you are. Default: your account's name.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the request, send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send an approved plan, once. After an answer that was lost it may be sent again: the key is the same. Exits 1
    where it was not taken, or may not have been."""
    settings, who = read_settings(), by or getpass.getuser()
    with _transaction(settings) as connection:
        known = remediations.find(connection, plan_id)
        refused = remediations.refusal(connection, known, who, datetime.now(UTC))
    if dry_run:
        _tell(known, settings, datetime.now(UTC), as_json, refused)
        return
    if refused is not None:
        raise refused
    with open_ledger(settings.ledger_url) as ledger:
        done = remediations.apply(ledger, known.id, who, _client(settings), lambda: datetime.now(UTC))
    now = datetime.now(UTC)
    if as_json:
        print_json({**asdict(done), "state": done.state(now)})
    else:
        said = f"{done.state(now)}: {done.action} {shown(done.capability)} in {done.environment}: {done.said}"
        out.print(said, markup=False, soft_wrap=True)
        _print_next(done, now)
    if done.outcome != "sent":
        raise typer.Exit(FAILED)


@remediate_app.command("list")
def list_plans(as_json: AsJson = False) -> None:
    """Plans, the newest first: who planned, who approved, and what came of it."""
    settings, now = read_settings(), datetime.now(UTC)
    with _transaction(settings) as connection:
        found = remediations.newest(connection, _LISTED)
    if as_json:
        print_json({"remediations": [{**asdict(one), "state": one.state(now)} for one in found]})
    elif found:
        out.print(_table(found, now))
    else:
        out.print("Nothing has been planned yet: `audit remediate plan ALERT_ID` plans it for an open alert.")


@contextmanager
def _transaction(settings: Settings) -> Generator[Connection]:
    with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
        yield connection


def _client(settings: Settings) -> WebhookClient:
    """Raises RemediationError where nothing is to be sent, or nobody is named to send it to."""
    if not settings.send:
        raise RemediationError("AI_AUDIT_SEND=0: nothing is sent; unset it, or look at the request with --dry-run")
    if settings.remediation_url is None:
        raise RemediationError("AI_AUDIT_REMEDIATION_URL: is not set; it names what can disable a capability")
    return WebhookClient(settings.remediation_url, settings.remediation_token)


def _request(plan: Remediation, settings: Settings) -> Mapping[str, Any]:
    """What `apply` sends, but for the bearer token, and what the address carries beside host and path."""
    address = settings.remediation_url
    return {
        "method": "POST",
        "url": shown_address(address) if address else None,
        "headers": {"Idempotency-Key": plan.key},
        "body": request_of(plan),
    }


def _tell(
    plan: Remediation, settings: Settings, now: datetime, as_json: bool, refused: RemediationError | None = None
) -> None:
    """A plan and its request, which is not sent."""
    request = _request(plan, settings)
    if as_json:
        stands_in_the_way = {"refused": str(refused)} if refused else {}
        print_json({**asdict(plan), "state": plan.state(now), "request": request, **stands_in_the_way})
        return
    approval = f", approved by {shown(plan.approved_by)}" if plan.approved_by else ""
    what = f"{plan.action} {shown(plan.capability)} in {plan.environment}"
    lines = [
        f"plan {plan.id}, {plan.state(now)}: {what}, for {plan.alert_key}",
        f"planned by {shown(plan.planned_by)}: {shown(plan.reason, 400)}{approval}",
        f"POST {request['url'] or 'to the address in AI_AUDIT_REMEDIATION_URL, which is not set'}",
        f"Idempotency-Key: {plan.key}",
        json.dumps(request["body"], indent=2),  # in ASCII: what cannot be seen in a name is written out
    ]
    out.print("\n".join(lines), markup=False, soft_wrap=True)
    err.print("nothing was sent" + (f", and would not be: {refused}" if refused else ""), markup=False, soft_wrap=True)
    if refused is None:
        _print_next(plan, now)


def _print_next(plan: Remediation, now: datetime) -> None:
    step = next_step(plan, now)
    if step:
        err.print(step, markup=False, soft_wrap=True)


def _table(found: list[Remediation], now: datetime) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("id", "state", "capability", "planned (UTC)", "by", "approved by", "said"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("id", "state", "planned (UTC)"))
    for one in found:
        drill = "" if one.environment == "live" else f" ({one.environment})"
        told = (one.planned_by, one.approved_by, one.said)
        state = Text(one.state(now), _STATES.get(one.state(now), ""))
        table.add_row(
            one.id, state, Text(shown(one.capability) + drill), f"{one.planned_at:%m-%d %H:%M}",
            *(Text(shown(each)) if each else "" for each in told),
        )  # fmt: skip
    return table
