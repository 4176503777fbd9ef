"""`audit watchdog`: reports, from outside the pipeline, when alerting itself does not work."""

import typer

from audit_assets.alerting.delivery.watchdog import ledger_problems, notify_pagerduty
from audit_assets.cli.clock import now_utc
from audit_assets.cli.output import FAILED, AsJson, err, out, print_json
from audit_assets.demo.services import serving_problems
from audit_assets.settings import read_settings


def watchdog(as_json: AsJson = False) -> None:
    """Exit 1 and report if rules are not judged or messages are not delivered. Run it from cron or systemd every minute
    or two.

    With AI_AUDIT_WATCHDOG_ROUTING_KEY it opens one PagerDuty incident, and resolves it when no problem is left.
    """
    settings, now = read_settings(), now_utc()
    problems = [*serving_problems(settings.home, now), *ledger_problems(settings.ledger_url, now)]
    if as_json:
        listed = [{"about": problem.about, "said": problem.detail} for problem in problems]
        print_json({"well": not problems, "troubles": listed})
    else:
        for problem in problems:
            out.print(problem.detail, markup=False, soft_wrap=True)
        if not problems:
            out.print("rules are judged and messages are delivered")
    failure = notify_pagerduty(settings, problems)
    if failure is not None:
        err.print(f"PagerDuty was not notified: {failure}", markup=False)
    if problems:
        raise typer.Exit(FAILED)
