"""`audit watchdog`: reports, from outside the pipeline, when alerting itself does not work."""

import socket
from datetime import datetime, timedelta

import typer

from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.delivery.watchdog import Problem, find_problems
from audit_assets.alerting.ledger.tables import LedgerError, open_ledger
from audit_assets.cli.clock import now_utc
from audit_assets.cli.output import FAILED, AsJson, err, out, print_json
from audit_assets.demo.home_lock import is_served
from audit_assets.demo.services import read_states
from audit_assets.settings import Settings, read_settings

_UNHEALTHY_AFTER = timedelta(minutes=4)  # on a busy machine, a service takes minutes from its start to its first answer


def watchdog(as_json: AsJson = False) -> None:
    """Exit 1 and report if rules are not judged or messages are not delivered. Run it from cron or systemd every minute
    or two.

    With AI_AUDIT_WATCHDOG_ROUTING_KEY it opens one PagerDuty incident, and resolves it when no problem is left.
    """
    settings = read_settings()
    problems = _find_problems(settings)
    if as_json:
        listed = [{"about": problem.about, "said": problem.detail} for problem in problems]
        print_json({"well": not problems, "troubles": listed})
    else:
        for problem in problems:
            out.print(problem.detail, markup=False, soft_wrap=True)
        if not problems:
            out.print("rules are judged and messages are delivered")
    _notify_pagerduty(settings, problems)
    if problems:
        raise typer.Exit(FAILED)


def _find_problems(settings: Settings) -> list[Problem]:
    """The problems of services and of the ledger. An unreadable ledger is a problem itself, not an error."""
    now = now_utc()
    serving = _serving_problems(settings, now)
    try:
        with open_ledger(settings.ledger_url) as ledger, ledger.transaction() as connection:
            return [*serving, *find_problems(connection, now)]
    except LedgerError as error:
        return [*serving, Problem("ledger", str(error))]


def _serving_problems(settings: Settings, now: datetime) -> list[Problem]:
    """The problems of `audit dev` on this machine: it was killed, or it cannot keep a service running."""
    services = read_states(settings.home / "serving.json")
    if services is None:
        return []
    if not is_served(settings.home):
        failed = [f"{service.name}: {service.problem}" for service in services if service.problem]
        details = f" ({'; '.join(failed)})" if failed else ""
        return [Problem("serving", f"`audit dev` ended unexpectedly: start it again{details}")]
    return [
        Problem(
            service.name,
            f"{service.name} of `audit dev` has been unhealthy since {service.since:%H:%M} UTC: {service.problem}",
        )
        for service in services
        if service.since is not None and now - service.since > _UNHEALTHY_AFTER
    ]


def _notify_pagerduty(settings: Settings, problems: list[Problem]) -> None:
    """Opens one incident with the first problem and resolves it after the last. A file records that it is open."""
    if settings.watchdog_routing_key is None:
        return
    is_open = settings.home / "watchdog.open"
    key = f"ai-audit/{settings.environment}/watchdog"
    if problems:
        event = {
            "event_action": "trigger",
            "dedup_key": key,
            "payload": {
                "summary": f"AI audit alerting does not work: {'; '.join(problem.detail for problem in problems)}"[
                    :1024
                ],
                "source": socket.gethostname(),
                "severity": "critical",
                "component": "alerting",
                "class": "watchdog",
                "custom_details": {problem.about: problem.detail for problem in problems},
            },
        }
    elif is_open.exists():
        event = {"event_action": "resolve", "dedup_key": key}
    else:
        return
    outcome = PagerDutyClient(settings.watchdog_routing_key, settings.pagerduty_events_url).send(event)
    if outcome.kind != "sent":
        err.print(f"PagerDuty was not notified: {outcome.detail}", markup=False)
    elif problems:
        settings.home.mkdir(parents=True, exist_ok=True)
        is_open.touch()
    else:
        is_open.unlink()
