"""Tickets, compared with golden files and with hostile names."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_assets.alerting.channels.senders import to_wiki_markup
from audit_assets.alerting.channels.ticket import closing_comment, new_ticket
from audit_assets_tests.alerting.golden import FOLDER, GROUP, payloads, written
from audit_assets_tests.alerting.notification_factories import alert, named, night, notification, resolved
from audit_assets_tests.rules.factories import shipped, shipped_rules

pytestmark = pytest.mark.requirement("R47")

SPIKE = shipped("volume_spike")
GOLDEN = {name: payload for name, payload in payloads().items() if name.startswith("ticket/")}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_ticket_equals_its_golden_file(name: str):
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == written(GOLDEN[name])


def test_a_ticket_shows_what_how_much_since_when_and_links():
    filed = new_ticket(night(), GROUP)
    assert filed["title"] == "AI Copilot Audit Spike: code_review, +337 % and 4 more"
    assert filed["text"].startswith("code_review: 1,742 calls in 2 hours, usually 399")
    assert "Since: 2026-11-23 12:45 UTC, for 1 h 20 min when this was filed" in filed["text"]
    assert "- search_answer: 610, usually 140, +336 %" in filed["text"]
    assert [link["text"] for link in filed["links"]] == ["Dashboard", "Runbook", "Raw logs", "Dagster run"]
    assert (filed["rule"], filed["environment"], filed["ticket"]) == ("volume_spike", "live", GROUP)
    assert len(filed["capabilities"]) == 5


def test_the_closing_comment_shows_the_worst_value_and_has_the_same_ticket():
    over = closing_comment(notification(SPIKE, resolved(alert(SPIKE))), GROUP)
    assert (over["event"], over["ticket"]) == ("closed", GROUP)
    assert over["text"] == "code_review: resolved at 2026-11-23 14:00 UTC after 1 h 15 min; worst value 1,742"
    many = notification(SPIKE, *(resolved(named(SPIKE, f"capability-{number}")) for number in range(40)))
    assert closing_comment(many, GROUP)["text"].endswith("\nand 30 more")


def test_a_ticket_of_a_drill_is_marked():
    drill = new_ticket(notification(SPIKE, alert(SPIKE, environment="sim")), GROUP)
    assert (drill["title"][:8], drill["environment"]) == ("[DRILL] ", "sim")


def test_a_name_from_outside_cannot_leave_the_block_that_formats_nothing():
    name = "{noformat}[~admin] {NoFormat} !http://x/y.png!"
    text = to_wiki_markup(new_ticket(notification(SPIKE, named(SPIKE, name)), GROUP))
    block, links = text.rsplit("\n{noformat}\n", 1)
    assert block.startswith("{noformat}\n")
    assert "{noformat" not in block.removeprefix("{noformat}\n").lower()
    assert "~admin" not in links
    assert "[Runbook|https://docs.example/INGESTION_WORKFLOW.md#volume_spike]" in links


@given(name=st.text(max_size=2000), rule=st.sampled_from(shipped_rules().rules), count=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_whatever_comes_in_a_ticket_is_within_jiras_limits(name: str, rule: object, count: int):
    several = notification(rule, *(named(rule, f"{name}{number or ''}") for number in range(count)))  # type: ignore[arg-type]
    filed = new_ticket(several, GROUP)
    assert 0 < len(filed["title"]) <= 255
    assert {unicodedata.category(char) for char in filed["title"]}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert len(to_wiki_markup(filed)) < 32_767
    assert json.dumps(filed)
