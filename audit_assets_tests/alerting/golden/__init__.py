"""Payloads as they are sent, kept as files and compared exactly: one a shipped rule and channel, and a night's turns.

`python -m audit_assets_tests.alerting.golden` writes them anew; the difference is then read before it is committed.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_assets.alerting import pagerduty_event, slack_message, ticket
from audit_assets_tests.alerting.telling import LINKS, night, resolved, story, taken, told
from audit_assets_tests.rules.made import shipped, shipped_rules

FOLDER = Path(__file__).parent
GROUP = "ai-audit/live/volume_spike/20261123T140500.000000Z"
WITH_DRAFTS = replace(LINKS, pagerduty_url="https://example.pagerduty.com", pagerduty_service_id="PABC123")


def payloads() -> dict[str, dict[str, Any]]:
    """Every payload by its file's name below this folder."""
    made: dict[str, dict[str, Any]] = {}
    for rule in shipped_rules().rules:
        made[f"slack/{rule.id}"] = slack_message.message(story(rule))
        made[f"pagerduty/{rule.id}"] = pagerduty_event.trigger(story(rule), told(rule))
    spike, several = shipped("volume_spike"), night()
    quiet = resolved(told(spike), history=(905, 1310, 1742, 640, 401), peak=1742)
    drill = told(spike, environment="sim", dimensions=(("capability", "drill-7f3a"),))
    made["slack/night"] = slack_message.message(several)
    made["slack/night_minimal"] = slack_message.minimal(several)
    made["slack/taken"] = slack_message.message(replace(several, told=tuple(taken(one) for one in several.told)))
    made["slack/taken_in_part"] = slack_message.message(
        replace(several, told=(taken(several.told[0]), *several.told[1:]))
    )
    made["slack/resolved"] = slack_message.message(story(spike, quiet))
    made["slack/reply"] = slack_message.reply(story(spike, quiet), quiet)
    made["slack/drill"] = slack_message.message(story(spike, drill))
    made["pagerduty/drill"] = pagerduty_event.trigger(story(spike, drill), drill)
    made["pagerduty/resolve"] = pagerduty_event.resolve(quiet.key)
    made["pagerduty/minimal"] = pagerduty_event.minimal(pagerduty_event.trigger(several, several.told[0]))
    made["pagerduty/summary"] = pagerduty_event.summary_trigger(
        spike, "live", 475, "ai-audit/production/volume_spike/more/3", several
    )
    for name, one in (("volume_spike", story(spike)), ("night", several), ("drill", story(spike, drill))):
        made[f"ticket/{name}"] = ticket.opening(one, GROUP)
    made["ticket/quiet"] = ticket.opening(story(shipped("unknown_status"), links=WITH_DRAFTS), GROUP)
    made["ticket/over"] = ticket.closing(story(spike, quiet), GROUP)
    return made


def written(payload: dict[str, Any]) -> str:
    return json.dumps(payload, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
