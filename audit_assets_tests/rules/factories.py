"""Hand-written facts and rules for the tests of this folder and of alerting/."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from audit_assets.rules.business_clock import read_calendar
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import RuleOutcome, RuleResult
from audit_assets.rules.judge import judge as judge_by
from audit_assets.rules.judge import judge_all as judge_all_by
from audit_assets.rules.load import load_rule, load_rules
from audit_assets.rules.model import Rule, RuleSet
from audit_assets.settings import PROJECT_ROOT

SHIPPED = PROJECT_ROOT / "observability/alerts/ai-audit"

CALENDAR = read_calendar(PROJECT_ROOT / "observability/alerts/calendar.yaml")

NOW = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
TODAY = date(2026, 11, 23)
YESTERDAY = TODAY - timedelta(days=1)
LAST_STEP = datetime(2026, 11, 23, 13, 45, tzinfo=UTC)

# A minimal rule; tests change one line of it.
PLAIN = """\
id: volume_spike
title: Spike
description: Too many calls.
watch: ai_audit_capability_anomalies
per: [capability]
window: running_and_last_closed_day
fires_when: interaction_count > 1.75 * median_14d
value: interaction_count
baseline: median_14d
baseline_is: the median of 14 days
threshold: 1.75 * median_14d
unit: count
severity: error
colour: "#7C3AED"
runbook: volume_spike
examples:
  fires:
    - {interaction_count: 176, median_14d: 100}
  does_not_fire:
    - {interaction_count: 175, median_14d: 100}
kind: spike
routes: [ops]
"""


# The playbook's rules as written, on the tables of days and of steps.
DAILY_SPIKE = PLAIN.replace("title: Spike", "title: AI Copilot Audit Spike").replace(
    "baseline_is: the median of 14 days", "baseline_is: median of the 14 days before"
).replace("value: inter", "judgeable_when: evaluation_status != 'insufficient_history'\nvalue: inter").replace(
    "median_14d: 100}", "median_14d: 100, evaluation_status: ok}"
)  # fmt: skip
STEP_SURGE = """\
id: error_surge
title: AI Copilot Audit Error Surge
description: Too many errors.
kind: errors
watch: ai_audit_capability_grid
per: [capability]
window: last_closed_step
fires_when: error_count / (success_count + error_count) > 0.05
value: error_count / (success_count + error_count)
threshold: 0.05
unit: share
severity: error
routes: [on_call]
colour: "#DC2626"
runbook: error_surge
examples:
  fires:
    - {success_count: 94, error_count: 6}
  does_not_fire:
    - {success_count: 95, error_count: 5}
"""


def made_rule(text: str) -> Rule:
    """Loads `text` as a rule file."""
    with TemporaryDirectory() as folder:
        rule = load_rule(written(Path(folder), text, f"{text.split()[1]}.yaml"))
    assert isinstance(rule, Rule), rule
    return rule


def literal_rules() -> RuleSet:
    """The playbook's spike by day and its surge by step."""
    return RuleSet((made_rule(DAILY_SPIKE), made_rule(STEP_SURGE)), ())


def judge(rule: Rule, facts: pl.DataFrame, now: datetime) -> RuleResult:
    """Evaluates `rule` on facts that are known up to `now`."""
    return judge_by(rule, facts, now, CALENDAR)


def judge_all(rules: RuleSet, facts: Mapping[str, pl.DataFrame], now: datetime) -> tuple[RuleOutcome, ...]:
    return judge_all_by(rules, facts, now, CALENDAR)


def written(folder: Path, text: str, name: str = "volume_spike.yaml") -> Path:
    """Writes `text` as a rule file in `folder`."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def changed(line: str) -> str:
    """PLAIN with the line of the same field replaced by `line`."""
    field = line.split(":")[0]
    lines = [line if old.split(":")[0] == field else old for old in PLAIN.splitlines()]
    assert line in lines
    return "\n".join(lines) + "\n"


def validation_errors(folder: Path, text: str, name: str = "volume_spike.yaml") -> list[str]:
    """The problems of a file with the content `text`; empty if it loads."""
    outcome = load_rule(written(folder, text, name))
    return [] if isinstance(outcome, Rule) else [str(problem) for problem in outcome.problems]


def shipped_rules() -> RuleSet:
    return load_rules(SHIPPED)


def shipped(rule_id: str) -> Rule:
    rule = shipped_rules().rule(rule_id)
    assert rule is not None
    return rule


def days(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Rows of ai_audit_capability_anomalies; today, `chat` and `ok` by default."""
    usual = {"date": TODAY, "capability": "chat", "evaluation_status": "ok"}
    return _frame("ai_audit_capability_anomalies", usual, rows)


def steps(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Rows of ai_audit_capability_grid; the last closed step, `chat` and `live` by default."""
    usual = {"step_start": LAST_STEP, "capability": "chat", "environment": "live"}
    return _frame("ai_audit_capability_grid", usual, rows)


def _frame(table: str, usual: Mapping[str, Any], rows: tuple[Mapping[str, Any], ...]) -> pl.DataFrame:
    schema = dict(TABLES[table].schema)
    return pl.DataFrame([{**dict.fromkeys(schema), **usual, **row} for row in rows], schema=schema, orient="row")
