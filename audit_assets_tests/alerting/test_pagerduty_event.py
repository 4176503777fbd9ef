"""PagerDuty events, compared with golden files and with hostile names."""

import json
import unicodedata
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_assets.alerting.channels.pagerduty_event import (
    draft_incident_link,
    draft_link,
    minimal,
    resolve,
    summary_trigger,
    trigger,
)
from audit_assets.alerting.links import Links
from audit_assets_tests.alerting.golden import FOLDER, WITH_DRAFTS, payloads, written
from audit_assets_tests.alerting.notification_factories import alert, named, notification, resolved
from audit_assets_tests.rules.factories import shipped, shipped_rules

SPIKE = shipped("volume_spike")
GOLDEN = {name: payload for name, payload in payloads().items() if name.startswith("pagerduty/")}


@pytest.mark.requirement("R43")
@pytest.mark.parametrize("name", GOLDEN)
def test_an_event_equals_its_golden_file(name: str):
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == written(GOLDEN[name])


def test_every_shipped_rule_has_a_golden_event_and_no_file_is_left_over():
    files = {path.stem for path in FOLDER.glob("pagerduty/*.json")}
    assert {rule.id for rule in shipped_rules().rules} <= files
    assert files == {name.removeprefix("pagerduty/") for name in GOLDEN}


@pytest.mark.requirement("R43")
def test_an_event_names_capability_rule_and_environment_and_leads_on():
    event = trigger(notification(SPIKE), alert(SPIKE))
    payload = event["payload"]
    assert (payload["component"], payload["class"], payload["group"]) == ("code_review", "volume_spike", "live")
    assert payload["severity"] == "error"
    assert payload["summary"] == (
        "AI Copilot Audit Spike: code_review, 1,742 calls in 2 hours, "
        "usually 399 (median of these hours over 14 days), +337 %"
    )
    assert payload["timestamp"] == "2026-11-23T13:00:00Z"
    assert [link["text"] for link in event["links"]] == ["Dashboard", "Runbook", "Raw logs", "Dagster run"]
    assert event["client_url"] == event["links"][0]["href"]
    assert event["dedup_key"] == alert(SPIKE).key
    assert "routing_key" not in event


def test_the_details_show_what_a_person_asks_first():
    details = trigger(notification(SPIKE), alert(SPIKE))["payload"]["custom_details"]
    assert details["value"] == "1,742 calls in 2 hours"
    assert details["usual"] == "399 (median of these hours over 14 days)"
    assert details["threshold"] == "above 625 calls in 2 hours"
    assert details["delta"] == "+337 %"
    assert details["window"] == "2026-11-23 13:45 to 14:00 UTC"
    assert details["since"] == "2026-11-23T12:45:00Z, for 1 h 20 min"
    assert details["condition"].startswith("count_2h >= 10")
    assert details["data_known_up_to"] == "14:03 UTC, 2 min ago"


def test_a_total_is_about_all_capabilities_and_lists_its_contributors():
    rule = shipped("total_volume_spike")
    payload = trigger(notification(rule), alert(rule))["payload"]
    assert payload["component"] == "all capabilities"
    assert payload["custom_details"]["contributors"][0] == "code_review: 3,820, usually 640"


def test_the_same_episode_always_has_the_same_key_whatever_its_figures():
    worse = replace(alert(SPIKE), value=9000.0, peak=9000.0)
    assert (
        trigger(notification(SPIKE, worse), worse)["dedup_key"]
        == trigger(notification(SPIKE), alert(SPIKE))["dedup_key"]
    )


def test_a_resolve_is_the_key_alone():
    assert resolve("ai-audit/k") == {"event_action": "resolve", "dedup_key": "ai-audit/k"}
    assert minimal(resolve("ai-audit/k")) == resolve("ai-audit/k")


def test_a_drill_is_recognized_by_its_summary_and_its_group():
    drill = replace(alert(SPIKE), environment="sim")
    payload = trigger(notification(SPIKE, drill), drill)["payload"]
    assert payload["summary"].startswith("[DRILL] AI Copilot Audit Spike")
    assert payload["group"] == "sim"
    summary = summary_trigger(SPIKE, "sim", 3, "k", notification(SPIKE, drill))["payload"]["summary"]
    assert summary == "[DRILL] AI Copilot Audit Spike: 3 more capabilities"


def test_beyond_the_limit_of_incidents_a_summary_covers_the_rest():
    event = summary_trigger(SPIKE, "live", 475, "ai-audit/local/volume_spike/more/1", notification(SPIKE))
    assert event["payload"]["summary"] == "AI Copilot Audit Spike: 475 more capabilities"
    assert event["payload"]["custom_details"]["count"] == 475
    assert event["dedup_key"] == "ai-audit/local/volume_spike/more/1"
    one = summary_trigger(SPIKE, "live", 1, "k", notification(SPIKE))
    assert one["payload"]["summary"].endswith("1 more capability")


def test_the_smallest_event_is_what_pagerduty_requires_and_keeps_the_routing_key():
    event = minimal({"routing_key": "R", **trigger(notification(SPIKE), named(SPIKE, "prüfung"))})
    assert set(event) == {"routing_key", "event_action", "dedup_key", "payload"}
    assert set(event["payload"]) == {"summary", "source", "severity"}
    assert "pr\\xfcfung" in event["payload"]["summary"]


@pytest.mark.parametrize("address", ["", "docs", "javascript:alert(1)"])
def test_an_address_that_leads_nowhere_is_left_out(address: str):
    event = trigger(notification(SPIKE, links=Links(address, address), run_url=address), alert(SPIKE))
    assert "client_url" not in event
    assert "links" not in event


@given(name=st.text(max_size=2000), rule=st.sampled_from(shipped_rules().rules), over=st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_comes_in_an_event_is_within_limits(name: str, rule: Any, over: bool):
    episode = named(rule, name)
    event = trigger(notification(rule, episode), resolved(episode) if over else episode)
    for sent in (event, minimal(event)):
        summary = sent["payload"]["summary"]
        assert 0 < len(summary) <= 1024
        assert {unicodedata.category(char) for char in summary}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
        assert len(json.dumps(sent).encode()) < 512_000
    for link in event["links"]:
        assert link["href"].isascii()


@pytest.mark.requirement("R47")
def test_a_draft_of_an_incident_opens_pagerdutys_own_form():
    link = draft_link("https://example.pagerduty.com/", "Spike of a&b ✓", "PABC123")
    parts = urlsplit(link)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://example.pagerduty.com/incidents/create"
    assert parse_qs(parts.query) == {"service_id": ["PABC123"], "title": ["Spike of a&b ✓"]}
    assert draft_link("", "x") == ""
    assert draft_link("https://example.pagerduty.com", "x").endswith("/incidents/create?title=x")


@pytest.mark.requirement("R47")
def test_a_draft_is_offered_if_the_rule_does_not_page_and_the_alert_is_open():
    offered = notification(shipped("unknown_status"), links=WITH_DRAFTS)
    assert parse_qs(urlsplit(draft_incident_link(offered)).query)["title"] == [
        "AI Copilot Audit Unknown Outcomes: code_review"
    ]
    drill = alert(SPIKE, environment="sim")
    for other in (replace(offered, pages=True), notification(SPIKE, resolved(alert(SPIKE)), links=WITH_DRAFTS),
                  notification(SPIKE, drill, links=WITH_DRAFTS), notification(SPIKE)):  # fmt: skip
        assert draft_incident_link(other) == ""


@given(st.text(max_size=3000))
def test_the_title_of_a_draft_is_encoded_and_cut(title: str):
    link = draft_link("https://example.pagerduty.com", title)
    assert link.isascii()
    assert link.isprintable()
    assert len(parse_qs(urlsplit(link).query)["title"][0]) <= 255
