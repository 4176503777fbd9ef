"""Tests of the fakes themselves: their faults depend on a seed, and their log survives a SIGKILL."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from audit_assets.alerting.channels.pagerduty import PagerDutyClient
from audit_assets.alerting.channels.slack import SlackClient
from audit_assets.settings import PROJECT_ROOT
from tools.fakes.answering import Faults
from tools.fakes.providers import FakeProviders
from tools.fakes.reading import read_log

ROUTING_KEY = SecretStr("0123456789abcdef0123456789abcdef")
TOKEN = SecretStr("xoxb-1")
TRIGGER = {
    "event_action": "trigger",
    "dedup_key": "k",
    "payload": {"summary": "s", "source": "s", "severity": "info"},
}


def kinds(faults: Faults) -> list[str]:
    with FakeProviders(faults=faults) as fakes:
        client = PagerDutyClient(ROUTING_KEY, fakes.events_url)
        return [client.send(TRIGGER).detail.split()[0] for _ in range(60)]


def test_faults_come_by_seed_and_by_their_shares():
    faults = Faults(server_error=0.2, rate_limited=0.2, dropped_after_processing=0.2, seed=7)
    first = kinds(faults)
    assert first == kinds(faults)
    assert set(first) == {"202", "503", "429", "the"}
    assert 15 <= first.count("202") <= 33


def test_more_faults_than_requests_are_a_mistake():
    with pytest.raises(ValueError, match="add up to at most 1"):
        Faults(server_error=0.9, rate_limited=0.2)


def test_fakes_that_were_killed_go_on_from_their_log(tmp_path: Path):
    log = tmp_path / "requests.jsonl"
    command = [sys.executable, "-m", "tools.fakes", "--port", "0", "--log", str(log)]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        slack = SlackClient(TOKEN, addresses["SLACK_BASE_URL"])
        assert PagerDutyClient(ROUTING_KEY, addresses["PAGERDUTY_EVENTS_URL"]).send(TRIGGER).kind == "sent"
        reference = slack.post("#any-name", {"text": "before"}, "delivery-1").reference or ""
    finally:
        process.kill()
        process.communicate()
    log.write_text(log.read_text() + '{"at": 17')  # an incomplete line
    assert list(read_log(log).incidents) == ["k"]
    with FakeProviders(log) as again:
        assert SlackClient(TOKEN, again.slack_url).edit(reference, {"text": "after"}).kind == "sent"
        reading = read_log(log)
        assert reading == again.received()
        assert [(message.text, message.edits) for message in reading.messages] == [("after", 1)]
        assert reading.incidents["k"].triggers == 1
