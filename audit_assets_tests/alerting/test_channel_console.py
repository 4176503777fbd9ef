"""Slack messages on a terminal: everything that Slack would show, and no markup from untrusted names."""

import io

import pytest
from rich.console import Console

from audit_assets.alerting.channels.console import render, render_mrkdwn
from audit_assets.alerting.channels.slack_message import message, minimal
from audit_assets_tests.alerting.notification_factories import night

pytestmark = pytest.mark.requirement("R42")


def printed(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(renderable, crop=False)
    return console.export_text()


def test_it_renders_what_slack_would_show():
    lines = [line.rstrip() for line in printed(render(message(night()))).splitlines()]
    assert lines[0] == "▌ AI Copilot Audit Spike"
    assert lines[1].startswith("▌ code_review: 1,742 calls in 2 hours, usually 399")
    assert "▌ Window          2026-11-23 13:45 to 14:00 UTC" in lines
    assert any(line.startswith("▌ search_answer") and "+336 %" in line for line in lines), "the table of the others"
    assert any(line.startswith("▌ Open Dashboard") and "capability=code_review" in line for line in lines)
    assert all(line.startswith("▌") for line in lines if line)


def test_links_stay_whole():
    narrow = Console(file=io.StringIO(), width=30, record=True)
    narrow.print(render(message(night())), crop=False)
    assert "https://docs.example/INGESTION_WORKFLOW.md#volume_spike" in narrow.export_text()


def test_the_plain_form_is_its_text():
    assert "code_review" in printed(render(minimal(night())))


def test_marks_become_styles_and_entities_become_characters():
    text = render_mrkdwn("`a&lt;b&gt;` is *far* &amp; [bold]away[/bold]\n```x  1\ny  2```")
    assert text.plain == "a<b> is far & [bold]away[/bold]\nx  1\ny  2"
    assert {(text.plain[span.start : span.end], span.style) for span in text.spans} == {
        ("a<b>", "cyan"),
        ("far", "bold"),
    }
