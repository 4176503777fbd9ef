"""`audit remediate`: disable a runaway capability. One person plans, another approves, the request is sent once."""

import getpass
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.channels.webhook import WebhookClient, display_address
from audit_assets.alerting.ledger.listing import find_alert
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets.alerting.remediation import store
from audit_assets.alerting.remediation.lifecycle import Remediation, RemediationError, next_step, request_body
from audit_assets.cli.clock import clock, now_utc
from audit_assets.cli.output import FAILED, AsJson, err, out, print_json
from audit_assets.settings import Settings, read_settings
from audit_assets.text.sanitize import escape

_LISTED = 50
_STATES = {"applied": "green", "unknown": "bold red", "failed": "bold red", "approved": "yellow", "applying": "yellow"}

PlanId = Annotated[str, typer.Argument(metavar="ID", help="The id of a plan.")]
By = Annotated[str, typer.Option("--by", help="Your name, for the audit trail.")]

remediate_app = typer.Typer(
    help="Disable a runaway capability: plan, approval by another person, request.", no_args_is_help=True
)


@remediate_app.command("plan")
def plan(
    alert: Annotated[str, typer.Argument(metavar="ALERT_ID", help="The key of an open alert, or the end of one.")],
    by: By,
    reason: Annotated[str, typer.Option(help="Reason, shown to the approver.")],
    as_json: AsJson = False,
) -> None:
    """Plan to disable the capability of an open alert, and show the request. Sends nothing."""
    settings, now = read_settings(), now_utc()
    with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
        planned = store.plan(connection, find_alert(connection, alert).id, secrets.token_hex(6), by, reason, now)
    _print_plan(planned, settings, now, as_json)


@remediate_app.command("approve")
def approve(plan_id: PlanId, by: By, as_json: AsJson = False) -> None:
    """Approve another person's plan, within an hour. Sends nothing."""
    settings, now = read_settings(), now_utc()
    with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
        approved = store.approve(connection, plan_id, by, now)
    _print_plan(approved, settings, now, as_json)


@remediate_app.command("apply")
def apply(
    plan_id: PlanId,
    by: Annotated[str, typer.Option("--by", help="Your name. Default: the name of your account.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the request, send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the request of an approved plan, once. If the response was lost, it may be sent again with the same
    idempotency key. Exits 1 if the request was not accepted, or may not have been."""
    settings, who = read_settings(), by or getpass.getuser()
    with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
        known = store.find(connection, plan_id)
        why_not_applicable = store.why_not_applicable(connection, known, who, now_utc())
    if dry_run:
        _print_plan(known, settings, now_utc(), as_json, why_not_applicable)
        return
    if why_not_applicable is not None:
        raise why_not_applicable
    with open_ledger(settings.ledger_url) as ledger:
        done = store.apply(ledger, known.id, who, _client(settings), clock())
    now = now_utc()
    if as_json:
        print_json({**asdict(done), "state": done.state(now)})
    else:
        line = f"{done.state(now)}: {done.action} {escape(done.capability)} in {done.environment}: {done.said}"
        out.print(line, markup=False, soft_wrap=True)
        _print_next(done, now)
    if done.outcome != "sent":
        raise typer.Exit(FAILED)


@remediate_app.command("list")
def list_plans(as_json: AsJson = False) -> None:
    """List plans, newest first: who planned and approved them, and the outcome."""
    settings, now = read_settings(), now_utc()
    with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
        found = store.newest(connection, _LISTED)
    if as_json:
        print_json({"remediations": [{**asdict(plan), "state": plan.state(now)} for plan in found]})
    elif found:
        out.print(_table(found, now))
    else:
        out.print("No remediation has been planned yet; `audit remediate plan ALERT_ID` plans one for an open alert.")


def _client(settings: Settings) -> WebhookClient:
    """Raises RemediationError if sending is off or no address is configured."""
    if not settings.send:
        raise RemediationError("AI_AUDIT_SEND=0: sending is off; unset it, or show the request with --dry-run")
    if settings.remediation_url is None:
        raise RemediationError("AI_AUDIT_REMEDIATION_URL: is not set; set the endpoint that disables a capability")
    return WebhookClient(settings.remediation_url, settings.remediation_token)


def _request(plan: Remediation, settings: Settings) -> Mapping[str, Any]:
    """The request that `apply` sends, without the bearer token and without anything in the URL but host and path."""
    address = settings.remediation_url
    return {
        "method": "POST",
        "url": display_address(address) if address else None,
        "headers": {"Idempotency-Key": plan.key},
        "body": request_body(plan),
    }


def _print_plan(
    plan: Remediation,
    settings: Settings,
    now: datetime,
    as_json: bool,
    why_not_applicable: RemediationError | None = None,
) -> None:
    """Prints a plan and its request, which is not sent."""
    request = _request(plan, settings)
    if as_json:
        refused = {"refused": str(why_not_applicable)} if why_not_applicable else {}
        print_json({**asdict(plan), "state": plan.state(now), "request": request, **refused})
        return
    approval = f", approved by {escape(plan.approved_by)}" if plan.approved_by else ""
    what = f"{plan.action} {escape(plan.capability)} in {plan.environment}"
    lines = [
        f"plan {plan.id}, {plan.state(now)}: {what}, for {plan.alert_key}",
        f"planned by {escape(plan.planned_by)}: {escape(plan.reason, 400)}{approval}",
        f"POST {request['url'] or 'to the address in AI_AUDIT_REMEDIATION_URL, which is not set'}",
        f"Idempotency-Key: {plan.key}",
        json.dumps(request["body"], indent=2),  # in ASCII: escapes invisible characters in a name
    ]
    out.print("\n".join(lines), markup=False, soft_wrap=True)
    blocked = f"; `apply` would be refused: {why_not_applicable}" if why_not_applicable else ""
    err.print(f"nothing was sent{blocked}", markup=False, soft_wrap=True)
    if why_not_applicable is None:
        _print_next(plan, now)


def _print_next(plan: Remediation, now: datetime) -> None:
    step = next_step(plan, now)
    if step:
        err.print(step, markup=False, soft_wrap=True)


def _table(found: list[Remediation], now: datetime) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("id", "state", "capability", "planned (UTC)", "by", "approved by", "response"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("id", "state", "planned (UTC)"))
    for plan in found:
        drill = "" if plan.environment == "live" else f" ({plan.environment})"
        state = Text(plan.state(now), _STATES.get(plan.state(now), ""))
        table.add_row(
            plan.id, state, Text(escape(plan.capability) + drill), f"{plan.planned_at:%m-%d %H:%M}",
            *(Text(escape(text)) if text else "" for text in (plan.planned_by, plan.approved_by, plan.said)),
        )  # fmt: skip
    return table
