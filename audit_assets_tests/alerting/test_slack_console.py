"""A Slack message on a terminal: all that Slack would show, and nothing that a name from outside could do there."""

import io

import pytest
from rich.console import Console

from audit_assets.alerting.slack_console import marked, rendered
from audit_assets.alerting.slack_message import message, minimal
from audit_assets_tests.alerting.telling import night

pytestmark = pytest.mark.requirement("R42")


def shown(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(renderable, crop=False)
    return console.export_text()


def test_it_shows_what_slack_would():
    lines = [line.rstrip() for line in shown(rendered(message(night()))).splitlines()]
    assert lines[0] == "▌ AI Copilot Audit Spike"
    assert lines[1].startswith("▌ code_review: 1,742 calls in 2 hours, usually 399")
    assert "▌ Window          2026-11-23 13:45 to 14:00 UTC" in lines
    assert any(line.startswith("▌ search_answer") and "+336 %" in line for line in lines), "the table of the others"
    assert any(line.startswith("▌ Open Dashboard") and "capability=code_review" in line for line in lines)
    assert all(line.startswith("▌") for line in lines if line)


def test_links_stay_whole():
    narrow = Console(file=io.StringIO(), width=30, record=True)
    narrow.print(rendered(message(night())), crop=False)
    assert "https://docs.example/INGESTION_WORKFLOW.md#volume_spike" in narrow.export_text()


def test_the_plain_form_is_its_text():
    assert "code_review" in shown(rendered(minimal(night())))


def test_marks_become_styles_and_entities_become_characters():
    text = marked("`a&lt;b&gt;` is *far* &amp; [bold]away[/bold]\n```x  1\ny  2```")
    assert text.plain == "a<b> is far & [bold]away[/bold]\nx  1\ny  2"
    assert {(text.plain[span.start : span.end], span.style) for span in text.spans} == {
        ("a<b>", "cyan"),
        ("far", "bold"),
    }
