"""Golden files of the payloads, compared exactly: one per shipped rule and channel, and the states of one message.

`python -m audit_assets_tests.alerting.golden` regenerates them; review the diff before committing it.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_assets.alerting.channels import pagerduty_event, slack_message, ticket
from audit_assets_tests.alerting.notification_factories import LINKS, acknowledged, alert, night, notification, resolved
from audit_assets_tests.rules.factories import shipped, shipped_rules

FOLDER = Path(__file__).parent
GROUP = "ai-audit/live/volume_spike/20261123T140500.000000Z"
WITH_DRAFTS = replace(LINKS, pagerduty_url="https://example.pagerduty.com", pagerduty_service_id="PABC123")


def payloads() -> dict[str, dict[str, Any]]:
    """Every payload, by its file name below this folder."""
    made: dict[str, dict[str, Any]] = {}
    for rule in shipped_rules().rules:
        made[f"slack/{rule.id}"] = slack_message.message(notification(rule))
        made[f"pagerduty/{rule.id}"] = pagerduty_event.trigger(notification(rule), alert(rule))
    spike, several = shipped("volume_spike"), night()
    quiet = resolved(alert(spike), history=(905, 1310, 1742, 640, 401), peak=1742)
    drill = alert(spike, environment="sim", dimensions=(("capability", "drill-7f3a"),))
    made["slack/night"] = slack_message.message(several)
    made["slack/night_minimal"] = slack_message.minimal(several)
    made["slack/taken"] = slack_message.message(
        replace(several, alerts=tuple(acknowledged(one) for one in several.alerts))
    )
    made["slack/taken_in_part"] = slack_message.message(
        replace(several, alerts=(acknowledged(several.alerts[0]), *several.alerts[1:]))
    )
    made["slack/resolved"] = slack_message.message(notification(spike, quiet))
    made["slack/reply"] = slack_message.resolved_reply(notification(spike, quiet), quiet)
    made["slack/drill"] = slack_message.message(notification(spike, drill))
    made["pagerduty/drill"] = pagerduty_event.trigger(notification(spike, drill), drill)
    made["pagerduty/resolve"] = pagerduty_event.resolve(quiet.key)
    made["pagerduty/minimal"] = pagerduty_event.minimal(pagerduty_event.trigger(several, several.alerts[0]))
    made["pagerduty/summary"] = pagerduty_event.summary_trigger(
        spike, "live", 475, "ai-audit/production/volume_spike/more/3", several
    )
    for name, one in (("volume_spike", notification(spike)), ("night", several), ("drill", notification(spike, drill))):
        made[f"ticket/{name}"] = ticket.new_ticket(one, GROUP)
    made["ticket/quiet"] = ticket.new_ticket(notification(shipped("unknown_status"), links=WITH_DRAFTS), GROUP)
    made["ticket/over"] = ticket.closing_comment(notification(spike, quiet), GROUP)
    return made


def written(payload: dict[str, Any]) -> str:
    return json.dumps(payload, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
