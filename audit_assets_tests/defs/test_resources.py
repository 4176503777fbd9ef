"""The Dagster resources, inside and outside of a Dagster run."""

import http.client
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions, EnvVar, ResourceParam, asset, build_sensor_context, materialize
from dagster_pagerduty import PagerDutyService
from dagster_slack import SlackResource

from audit_assets.defs.resources import (
    AlertLedger,
    PagerDutyWithLinks,
    PostgresSource,
    RunClock,
    SlackWithBaseUrl,
    WarehouseResource,
    build_resources,
)
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.environments import NOW, Home
from tools.fakes.answering import Faults
from tools.fakes.providers import FakeProviders

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-1234-open-sesame"
EVENT = {
    "event_action": "trigger",
    "dedup_key": "k",
    "payload": {"summary": "from an asset", "source": "ai-audit", "severity": "info"},
}


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


def send_from_an_asset(slack: SlackWithBaseUrl, pagerduty: PagerDutyWithLinks) -> None:
    @asset
    def notification(slack: ResourceParam[SlackResource], pagerduty: ResourceParam[PagerDutyService]) -> None:
        assert isinstance(slack, SlackWithBaseUrl)
        assert isinstance(pagerduty, PagerDutyWithLinks)
        slack_client, pagerduty_client = slack.client(), pagerduty.client()
        assert slack_client is not None
        assert pagerduty_client is not None
        assert slack_client.post("#alerts", {"text": "from an asset"}, "delivery-1").kind == "sent"
        assert pagerduty_client.send(EVENT).kind == "sent"

    assert materialize([notification], resources={"slack": slack, "pagerduty": pagerduty}).success


def test_an_asset_sends_through_both_with_secrets_that_the_config_names(
    fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SOME_TOKEN", TOKEN)
    monkeypatch.setenv("SOME_KEY", ROUTING_KEY)
    send_from_an_asset(
        SlackWithBaseUrl(token=EnvVar("SOME_TOKEN"), base_url=fakes.slack_url),
        PagerDutyWithLinks(routing_key=EnvVar("SOME_KEY"), events_url=fakes.events_url),
    )
    assert [message.text for message in fakes.messages()] == ["from an asset"]
    assert list(fakes.incidents()) == ["k"]


def test_without_config_they_send_to_what_the_environment_names_unless_sending_is_off(
    empty_home: Home, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    slack, pagerduty = SlackWithBaseUrl(), PagerDutyWithLinks()
    assert (slack.client(), pagerduty.client()) == (None, None)
    monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("SLACK_BASE_URL", fakes.slack_url)
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", ROUTING_KEY)
    monkeypatch.setenv("PAGERDUTY_EVENTS_URL", fakes.events_url)
    send_from_an_asset(slack, pagerduty)
    assert len(fakes.messages()) == len(fakes.incidents()) == 1
    monkeypatch.setenv("AI_AUDIT_SEND", "0")
    assert (slack.client(), pagerduty.client()) == (None, None)


def test_source_warehouse_and_ledger_follow_the_environment_or_their_own_config(empty_home: Home, tmp_path: Path):
    settings = empty_home.settings()
    assert PostgresSource().address() == settings.source_url
    assert PostgresSource(url="postgresql://elsewhere/app").address() == "postgresql://elsewhere/app"
    with WarehouseResource(duckdb_path=str(tmp_path / "other.duckdb")).open().maintenance("a test"):
        assert (tmp_path / "other.duckdb").exists()
    assert not settings.duckdb_path.exists()
    AlertLedger(url=f"sqlite:///{tmp_path / 'other.db'}").open().close()
    assert (tmp_path / "other.db").exists()
    AlertLedger().open().close()
    assert (empty_home.folder / "alerts.db").exists()


def test_no_secret_of_the_environment_is_in_the_resources(empty_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", ROUTING_KEY)
    configs = [
        resource.get_resource_definition().config_schema for resource in build_resources(empty_home.settings()).values()
    ]
    shown = repr([schema.config_type.fields for schema in configs])
    assert "sesame" not in shown
    assert ROUTING_KEY not in shown


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
    assert str(slack.base_url) in repr(slack)
    assert str(pagerduty.events_url) in repr(pagerduty)


def test_a_resource_is_replaced_as_the_architecture_page_shows(built_home: Home, monkeypatch: pytest.MonkeyPatch):
    page = (PROJECT_ROOT / "docs/architecture.md").read_text()
    (example,) = re.findall(r"```python\n(import dagster as dg\n.*?)```", page, re.DOTALL)
    monkeypatch.setenv("REPLICA_URL", built_home.settings().source_url)
    monkeypatch.setenv("AI_AUDIT_SOURCE_URL", "postgresql://127.0.0.1:1/unreachable")
    namespace: dict[str, Any] = {}
    exec(example, namespace)
    replaced = namespace["defs"]()
    Definitions.validate_loadable(replaced)
    available = {"source": replaced.resources["source"], "clock": RunClock(fixed_now=NOW.isoformat())}
    cursor = (NOW - timedelta(seconds=5)).isoformat()
    with (
        DagsterInstance.ephemeral() as instance,
        build_sensor_context(instance=instance, cursor=cursor, resources=available) as context,
    ):
        result = replaced.resolve_sensor_def("audit_sync_sensor")(context)
    assert "no new rows at the source" in str(result.skip_message)
