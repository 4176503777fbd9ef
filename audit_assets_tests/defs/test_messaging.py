"""The Dagster resources for Slack and PagerDuty, inside and outside of a Dagster run."""

import http.client
from collections.abc import Iterator

import pytest
from dagster import EnvVar, ResourceParam, asset, materialize
from dagster_pagerduty import PagerDutyService
from dagster_slack import SlackResource

from audit_assets.defs.messaging import NotSentError, PagerDutyWithLinks, SlackWithBaseUrl
from tools.fakes.answering import Faults
from tools.fakes.providers import FakeProviders

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-1234-open-sesame"


@pytest.fixture
def fakes() -> Iterator[FakeProviders]:
    with FakeProviders() as playing:
        yield playing


@pytest.fixture
def pagerduty(fakes: FakeProviders) -> PagerDutyWithLinks:
    return PagerDutyWithLinks(routing_key=ROUTING_KEY, events_url=fakes.events_url)


@pytest.fixture
def slack(fakes: FakeProviders) -> SlackWithBaseUrl:
    return SlackWithBaseUrl(token=TOKEN, base_url=fakes.slack_url)


def test_an_asset_sends_through_both_with_secrets_from_the_environment(
    fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", ROUTING_KEY)

    @asset
    def notification(slack: ResourceParam[SlackResource], pagerduty: ResourceParam[PagerDutyService]) -> None:
        assert isinstance(slack, SlackWithBaseUrl)
        assert slack.client().post("#alerts", {"text": "from an asset"}, "delivery-1").kind == "sent"
        pagerduty.EventV2_create(summary="from an asset", source="ai-audit", severity="info", dedup_key="k")

    resources = {
        "slack": SlackWithBaseUrl(token=EnvVar("SLACK_BOT_TOKEN"), base_url=fakes.slack_url),
        "pagerduty": PagerDutyWithLinks(routing_key=EnvVar("PAGERDUTY_ROUTING_KEY"), events_url=fakes.events_url),
    }
    assert materialize([notification], resources=resources).success
    assert [message.text for message in fakes.messages()] == ["from an asset"]
    assert list(fakes.incidents()) == ["k"]


def test_the_parents_call_takes_links_and_every_field(fakes: FakeProviders, pagerduty: PagerDutyWithLinks):
    link = {"href": "https://docs.internal/runbook", "text": "Runbook"}
    answered = pagerduty.EventV2_create(
        "many calls",
        "ai-audit/local",
        "error",
        dedup_key="k",
        timestamp="2026-03-08T10:00:00Z",
        component="chat",
        group="capabilities",
        event_class="volume_spike",
        custom_details={"usual": 130},
        links=[link],
    )
    assert answered == {"status": "success", "message": "202 Event processed", "dedup_key": "k"}
    event = fakes.incidents()["k"].event
    assert event["links"] == [link]
    assert event["payload"] == {
        "summary": "many calls",
        "source": "ai-audit/local",
        "severity": "error",
        "timestamp": "2026-03-08T10:00:00Z",
        "component": "chat",
        "group": "capabilities",
        "class": "volume_spike",
        "custom_details": {"usual": 130},
    }


def test_an_event_that_was_not_taken_raises_with_pagerdutys_word_and_without_the_key(
    fakes: FakeProviders, pagerduty: PagerDutyWithLinks
):
    with pytest.raises(NotSentError, match=r"refused: 400 Event object is invalid; 'payload\.severity'") as caught:
        pagerduty.EventV2_create("s", "s", "fatal")
    assert caught.value.outcome.kind == "refused"
    fakes.pagerduty.bad_key = True
    with pytest.raises(NotSentError, match="parked: 400 Invalid routing key") as caught:
        pagerduty.EventV2_create("s", "s", "info")
    assert ROUTING_KEY not in repr(caught.value)


def test_slack_sdks_client_uses_the_same_address_and_posts_once(fakes: FakeProviders, slack: SlackWithBaseUrl):
    assert slack.get_client().chat_postMessage(channel="#alerts", text="once")["ok"]
    fakes.faults = Faults(dropped_after_processing=1.0)
    with pytest.raises(http.client.RemoteDisconnected):
        slack.get_client().chat_postMessage(channel="#alerts", text="dropped")
    assert [message.text for message in fakes.messages()] == ["once", "dropped"]


def test_neither_resource_shows_its_secret(slack: SlackWithBaseUrl, pagerduty: PagerDutyWithLinks):
    for resource in (slack, pagerduty, slack.client(), pagerduty.client()):
        for shown in (repr(resource), str(resource), f"{resource}"):
            assert "sesame" not in shown
            assert ROUTING_KEY not in shown
    assert slack.base_url in repr(slack)
    assert pagerduty.events_url in repr(pagerduty)
