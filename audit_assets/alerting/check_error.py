"""A rule that could not judge three times in a row, as an episode of its own; and what is left of a rule whose file is
gone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.transitions import Instance
from audit_assets.rules.episode import Episode, Finding
from audit_assets.rules.judge import Failure
from audit_assets.rules.model import Rule

CHECK_ERROR = "check_error"

_KEPT = ("id", "title", "description", "kind", "severity", "routes", "colour", "runbook", "unit", "value_is")


def stub_of(rule: Rule) -> Mapping[str, Any]:
    """What a message needs of a rule, should its file be gone when the message is changed."""
    return {name: getattr(rule, name) for name in _KEPT}


def stub(kept: Mapping[str, Any]) -> Rule:
    """A rule that can be told, and judges nothing."""
    told = {**kept, "routes": tuple(kept["routes"])}
    judging = {"watch": "", "per": (), "window": "now", "fires_when": "false", "value": "", "threshold": ""}
    return Rule.model_construct(None, **judging, **told)


def check_error_rule(failure: Failure) -> Rule:
    """The rule that tells of a rule that does not judge."""
    return stub(
        {
            "id": CHECK_ERROR,
            "title": "AI Copilot Audit Rule Is Not Judging",
            "description": shown(failure.message.splitlines()[0] if failure.message else "no reason given", 400),
            "kind": "failure",
            "severity": "error",
            "routes": ("ops",),
            "colour": "#DC2626",
            "runbook": "incident-response",
            "unit": "count",
            "value_is": None,
        }
    )


def check_error(failure: Failure, now: datetime) -> tuple[Instance, Episode]:
    """The episode of a rule that does not judge, from `now` (UTC) on."""
    dimensions = (("rule", failure.rule_id),)
    finding = Finding(CHECK_ERROR, "live", dimensions, None, None, None, None, now, now)
    return Instance(CHECK_ERROR, "live", dimensions), Episode(
        state="firing", since=now, at=now, opened_at=now, last_fired_at=now, resolved_at=None,
        recent=(True,), latest=finding, worst=finding,
    )  # fmt: skip
