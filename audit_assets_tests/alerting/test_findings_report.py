"""Findings on a terminal, in a log, and with misleading names."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from audit_assets.alerting.findings_report import print_findings
from audit_assets.alerting.links import Links
from audit_assets.rules.load import load_rules
from audit_assets.rules.model import RuleSet
from audit_assets.text.sanitize import LONGEST, escape
from audit_assets_tests.rules.factories import NOW, YESTERDAY, days, judge_all, literal_rules, steps, written

LINKS = Links("https://bi.example/", "https://docs.example")
RULES = literal_rules()


def report(facts: Mapping[str, pl.DataFrame], rules: RuleSet = RULES, width: int = 80, **console: Any) -> str:
    out = io.StringIO()
    verdicts = judge_all(rules, {**EMPTY, **facts}, NOW)
    print_findings(Console(file=out, width=width, **console), verdicts, rules, LINKS, NOW)
    return out.getvalue()


EMPTY = {"ai_audit_capability_anomalies": days(), "ai_audit_capability_grid": steps()}
SPIKE = {"capability": "code_review", "interaction_count": 3510, "median_14d": 140}


def spikes(*rows: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    return {"ai_audit_capability_anomalies": days(*rows)}


@pytest.mark.requirement("R30")
def test_a_spike_shows_what_how_much_since_when_and_what_next():
    assert report(spikes(SPIKE)).splitlines() == [
        "▌ AI Copilot Audit Spike  ERROR",
        "▌ code_review: 3,510, usually 140 (median of the 14 days before)  +2,407 %",
        "▌ Window    2026-11-23 00:00 to 24:00 UTC, still running at 14:05",
        "▌ Limit     245  (interaction_count > 1.75 * median_14d)",
        "▌ Dashboard https://bi.example/audit-overview?capability=code_review",
        "▌ Runbook   https://docs.example/INGESTION_WORKFLOW.md#volume_spike",
        "",
        "1 finding: 2 rules over 1 row, 1 rule without rows; 2026-11-23 14:05 UTC",
    ]


@pytest.mark.requirement("R33")
def test_an_error_surge_shows_shares():
    facts = {"ai_audit_capability_grid": steps({"success_count": 80, "error_count": 20})}
    assert report(facts).splitlines()[:4] == [
        "▌ AI Copilot Audit Error Surge  ERROR",
        "▌ chat: 20.0 %",
        "▌ Window    2026-11-23 13:45 to 14:00 UTC",
        "▌ Limit     5.00 %  (error_count / (success_count + error_count) > 0.05)",
    ]


def test_a_drill_is_marked_as_a_drill():
    facts = {"ai_audit_capability_grid": steps({"success_count": 80, "error_count": 20, "environment": "sim"})}
    assert report(facts).splitlines()[1] == "▌ [DRILL] chat: 20.0 %"


def test_when_nothing_fires_only_the_summary_line_is_printed():
    assert report(spikes({**SPIKE, "interaction_count": 1})) == (
        "Nothing fires: 2 rules over 1 row, 1 rule without rows; 2026-11-23 14:05 UTC\n"
    )


def test_rows_that_could_not_be_evaluated_are_counted_in_the_summary_line():
    assert "0 rows, 1 without enough data, 1 rule without rows;" in report(spikes({**SPIKE, "median_14d": None}))


def test_several_capabilities_are_one_message_with_the_worst_first():
    rows = [{**SPIKE, "capability": f"c{n:02}", "interaction_count": 1000 + n} for n in range(14)]
    text = report(spikes(*rows))
    assert text.count("AI Copilot Audit Spike") == 1
    assert text.splitlines()[1].startswith("▌ c13: 1,013, usually 140")
    assert "▌ c12" in text
    assert "and 4 more" in text
    assert "14 findings" in text


def test_two_windows_are_two_messages_the_newest_first():
    text = report(spikes(SPIKE, {**SPIKE, "date": YESTERDAY, "capability": "closed"}))
    assert text.count("AI Copilot Audit Spike") == 2
    assert text.index("2026-11-23 00:00") < text.index("2026-11-22 00:00 to 24:00 UTC\n")


def test_a_rule_that_cannot_be_evaluated_is_reported_with_the_fix(tmp_path: Path):
    written(tmp_path, "id: a\nseverty: error\n", "a.yaml")
    text = report({}, load_rules(tmp_path))
    assert "▌ a cannot be evaluated  ERROR" in text
    assert "a.yaml:2: severty: unknown field; did you mean severity?" in text
    assert text.splitlines()[-1].startswith("Nothing fires: 0 rules over 0 rows, 1 rule failed;")


def test_the_bar_has_the_rules_color_on_a_terminal_and_none_in_a_log():
    colored = report(spikes(SPIKE), force_terminal=True, color_system="truecolor")
    assert "\x1b[38;2;124;58;237m▌" in colored
    assert "\x1b" not in report(spikes(SPIKE))


def test_links_stay_whole_on_a_narrow_terminal():
    text = report(spikes({**SPIKE, "capability": "x" * 60}), width=30)
    assert f"https://bi.example/audit-overview?capability={'x' * 60}\n" in text


def test_an_ascii_log_loses_no_message():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    facts = {**EMPTY, **spikes({**SPIKE, "capability": "prüfung"})}
    verdicts = judge_all(RULES, facts, NOW)
    print_findings(Console(file=out, width=80), verdicts, RULES, LINKS, NOW)
    assert raw.getvalue().startswith(b"| AI Copilot Audit Spike  ERROR\n| pr\\xfcfung: 3,510")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("[red]chat[/red]", "[red]chat[/red]"),
        ("[/]", "[/]"),
        ("chat\x1b[2J\x07", "chat\\x1b[2J\\x07"),
        ("chat\nNothing fires", "chat\\x0aNothing fires"),
        ("chat\u202egnp", "chat\\u202egnp"),
        ("", "''"),
        ("\u3000", "'\u3000'"),
    ],
)
def test_a_capability_cannot_change_how_the_message_looks(name: str, seen: str):
    assert report(spikes({**SPIKE, "capability": name})).splitlines()[1].startswith(f"▌ {seen}: 3,510")


def test_a_long_name_is_cut():
    assert escape("x" * 5000) == "x" * (LONGEST - 1) + "…"


@pytest.mark.requirement("R30")
@given(st.text(max_size=30))
def test_the_dashboard_link_leads_to_exactly_that_capability(name: str):
    link = LINKS.dashboard(name)
    assert parse_qs(urlsplit(link).query, keep_blank_values=True, errors="strict") == {"capability": [name]}
    assert link.isascii()
    assert link.isprintable()


@given(st.text())
def test_escaped_text_is_printable_short_and_never_empty(text: str):
    seen = escape(text)
    assert seen
    assert "\n" not in seen
    assert "\x1b" not in seen
    assert len(seen) <= LONGEST * 10
    Console(file=io.StringIO()).print(seen, markup=False)


def test_an_address_that_is_not_set_leaves_its_link_out():
    assert Links("", "").dashboard("chat") == ""
    assert Links("", "").runbook("volume_spike") == ""
