"""`audit watchdog`: tells, from outside, where the alerter itself is silent."""

import socket
from datetime import UTC, datetime

import typer

from audit_assets.alerting.ledger import LedgerError, open_ledger
from audit_assets.alerting.pagerduty_client import PagerDutyClient
from audit_assets.alerting.watchdog import Trouble, troubles
from audit_assets.cli.screen import FAILED, AsJson, err, out, print_json
from audit_assets.settings import Settings, read_settings


def watchdog(as_json: AsJson = False) -> None:
    """Exit 1 and tell where rules are not judged or messages do not go out. For cron or systemd, every minute or two.

    With AI_AUDIT_WATCHDOG_ROUTING_KEY it opens one PagerDuty incident, and closes it when all is well.
    """
    settings = read_settings()
    found = _found(settings)
    if as_json:
        print_json({"well": not found, "troubles": [{"about": one.about, "said": one.said} for one in found]})
    else:
        for one in found:
            out.print(one.said, markup=False, soft_wrap=True)
        if not found:
            out.print("rules are judged, and messages go out")
    _tell(settings, found)
    if found:
        raise typer.Exit(FAILED)


def _found(settings: Settings) -> list[Trouble]:
    """A ledger that cannot be read is the worst trouble of all."""
    try:
        with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
            return troubles(connection, datetime.now(UTC))
    except LedgerError as error:
        return [Trouble("ledger", str(error))]


def _tell(settings: Settings, found: list[Trouble]) -> None:
    """One incident, opened with the first trouble and closed with the last; a file says that it is open."""
    if settings.watchdog_routing_key is None:
        return
    is_open = settings.home / "watchdog.open"
    key = f"ai-audit/{settings.environment}/watchdog"
    if found:
        event = {
            "event_action": "trigger",
            "dedup_key": key,
            "payload": {
                "summary": f"AI audit alerts are silent: {'; '.join(one.said for one in found)}"[:1024],
                "source": socket.gethostname(),
                "severity": "critical",
                "component": "alerting",
                "class": "watchdog",
                "custom_details": {one.about: one.said for one in found},
            },
        }
    elif is_open.exists():
        event = {"event_action": "resolve", "dedup_key": key}
    else:
        return
    outcome = PagerDutyClient(settings.watchdog_routing_key, settings.pagerduty_events_url).send(event)
    if outcome.kind != "sent":
        err.print(f"PagerDuty was not told: {outcome.said}", markup=False)
    elif found:
        settings.home.mkdir(parents=True, exist_ok=True)
        is_open.touch()
    else:
        is_open.unlink()
