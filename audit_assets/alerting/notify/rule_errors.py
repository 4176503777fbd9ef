"""A rule whose evaluation failed three times in a row, as an episode of its own; and a stub for a rule whose file was
deleted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audit_assets.alerting.notify.transitions import Instance
from audit_assets.rules.episode import Episode, Finding
from audit_assets.rules.judge import Failure
from audit_assets.rules.model import Rule
from audit_assets.text.sanitize import escape

CHECK_ERROR = "check_error"

_KEPT = ("id", "title", "description", "kind", "severity", "routes", "colour", "runbook", "unit", "value_is")


def stub_fields(rule: Rule) -> Mapping[str, Any]:
    """The fields of a rule that a message needs. They are stored, in case the rule file is deleted before the message
    changes."""
    return {name: getattr(rule, name) for name in _KEPT}


def stub(kept: Mapping[str, Any]) -> Rule:
    """A rule that a message can show, and that never fires."""
    shown = {**kept, "routes": tuple(kept["routes"])}
    never_fires = {"watch": "", "per": (), "window": "now", "fires_when": "false", "value": "", "threshold": ""}
    return Rule.model_construct(None, **never_fires, **shown)


def check_error_rule(failure: Failure) -> Rule:
    """The rule that reports a rule whose evaluation fails."""
    return stub(
        {
            "id": CHECK_ERROR,
            "title": "AI Copilot Audit Rule Evaluation Failing",
            "description": escape(failure.message.splitlines()[0] if failure.message else "no reason given", 400),
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
    """The episode of a rule whose evaluation fails, from `now` (UTC) on."""
    dimensions = (("rule", failure.rule_id),)
    finding = Finding(CHECK_ERROR, "live", dimensions, None, None, None, None, now, now)
    return Instance(CHECK_ERROR, "live", dimensions), Episode(
        state="firing", since=now, at=now, opened_at=now, last_fired_at=now, resolved_at=None,
        recent=(True,), latest=finding, worst=finding,
    )  # fmt: skip
