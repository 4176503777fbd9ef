"""Reading acknowledgements from PagerDuty, and responses without one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from audit_assets.alerting.channels.pagerduty import (
    Acknowledgement,
    PagerDutyClient,
    PagerDutyIncidents,
    incidents_client,
)
from audit_assets.alerting.delivery.outcome import Outcome
from audit_assets.settings import read_settings
from audit_assets_tests.alerting.conftest import API_TOKEN
from tools.fakes.answering import DROPPED, Reply
from tools.fakes.providers import INCIDENTS_PATH, FakeProviders

pytestmark = pytest.mark.requirement("R41")

KEY = "ai-audit/live/volume_spike/9f2c/1"
AT = datetime(2026, 11, 24, 12, 3, 0, tzinfo=UTC)
TRIGGER = {
    "event_action": "trigger",
    "dedup_key": KEY,
    "payload": {"summary": "s", "source": "s", "severity": "info"},
}


def listed(*acknowledgements: Any) -> dict[str, Any]:
    return {"incidents": [{"incident_key": KEY, "status": "acknowledged", "acknowledgements": list(acknowledgements)}]}


def answered(fakes: FakeProviders, incidents: PagerDutyIncidents, status: int, body: Any, **headers: str) -> Any:
    fakes.next_replies[INCIDENTS_PATH].append(Reply(status, body, headers))
    return incidents.acknowledgement(KEY)


def test_an_incident_is_asked_for_by_its_key_with_the_token_and_the_version(
    fakes: FakeProviders, incidents: PagerDutyIncidents
):
    assert incidents.acknowledgement(KEY) is None, "there is none"
    (path, asked), *_ = fakes.bodies
    assert path == INCIDENTS_PATH
    assert asked == {
        "incident_key": [KEY],
        "statuses[]": ["acknowledged", "triggered", "resolved"],
        "date_range": ["all"],
    }


def test_the_first_acknowledgement_is_returned(
    fakes: FakeProviders, incidents: PagerDutyIncidents, pagerduty: PagerDutyClient
):
    pagerduty.send(TRIGGER)
    assert incidents.acknowledgement(KEY) is None, "nobody has acknowledged it"
    fakes.pagerduty.acknowledge(KEY, "Grace", AT + timedelta(minutes=1))
    fakes.pagerduty.acknowledge(KEY, "Ada Lovelace", AT)
    assert incidents.acknowledgement(KEY) == Acknowledgement(AT, "Ada Lovelace")
    assert incidents.acknowledgement("another") is None


def test_a_time_of_another_zone_is_converted_to_utc(fakes: FakeProviders, incidents: PagerDutyIncidents):
    one = {"at": "2026-11-24T13:03:00+01:00", "acknowledger": {"summary": "Ada"}}
    assert answered(fakes, incidents, 200, listed(one)) == Acknowledgement(AT, "Ada")


@pytest.mark.parametrize("acknowledger", [None, {}, {"summary": None}, {"summary": " "}, "Ada"])
def test_an_acknowledger_without_a_name_is_somebody(
    fakes: FakeProviders, incidents: PagerDutyIncidents, acknowledger: Any
):
    one = {"at": "2026-11-24T12:03:00Z", "acknowledger": acknowledger}
    assert answered(fakes, incidents, 200, listed(one)) == Acknowledgement(AT, "somebody")


def test_a_name_is_escaped_and_stored(fakes: FakeProviders, incidents: PagerDutyIncidents):
    one = {"at": "2026-11-24T12:03:00Z", "acknowledger": {"summary": "a\x00\ud800\u202e" + "x" * 500}}
    acknowledged = answered(fakes, incidents, 200, listed(one))
    assert acknowledged.by.startswith("a\\x00\\ud800\\u202exx")
    assert len(acknowledged.by) < 120


NO_ANSWERS: list[Any] = [
    "<html>please log in</html>",
    "",
    [],
    {"incidents": None},
    {"incidents": {}},
    {"incidents": [3]},
    {"incidents": [{}]},
    {"incidents": [{"acknowledgements": None}]},
    listed("Ada"),
    listed({"acknowledger": {"summary": "Ada"}}),
    listed({"at": "yesterday", "acknowledger": {"summary": "Ada"}}),
    listed({"at": 1764000000, "acknowledger": {"summary": "Ada"}}),
    listed({"at": "2026-11-24T12:03:00", "acknowledger": {"summary": "Ada"}}),
]


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_an_answer_of_another_form_is_no_answer(fakes: FakeProviders, incidents: PagerDutyIncidents, body: Any):
    assert answered(fakes, incidents, 200, body).kind == "retry"


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (401, "parked", "401 no; PAGERDUTY_API_TOKEN must be a read-only REST API key"),
        (403, "parked", "403 no; PAGERDUTY_API_TOKEN must be a read-only REST API key"),
        (404, "parked", "404 no; is PAGERDUTY_API_URL the REST API?"),
        (400, "retry", "400 no"),
        (302, "retry", "302 no"),
        (429, "retry", "429 no"),
        (500, "retry", "500 no"),
        (503, "retry", "503 no"),
    ],
)
def test_a_refusal_shows_whether_a_person_has_to_fix_it(
    fakes: FakeProviders, incidents: PagerDutyIncidents, status: int, kind: str, expected: str
):
    outcome = answered(fakes, incidents, status, {"error": {"message": "no", "code": 2006}})
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.detail[: len(expected)]) == (kind, expected)


def test_a_rate_limit_waits_as_long_as_pagerduty_asks(fakes: FakeProviders, incidents: PagerDutyIncidents):
    outcome = answered(fakes, incidents, 429, "", **{"Retry-After": "30"})
    assert outcome.retry_after == timedelta(seconds=30)


def test_no_answer_is_asked_for_again(fakes: FakeProviders, incidents: PagerDutyIncidents):
    assert answered(fakes, incidents, DROPPED, "").kind == "retry"
    fakes.close()
    assert incidents.acknowledgement(KEY) == Outcome("retry", "no connection to 127.0.0.1")


def test_an_invalid_url_is_parked():
    assert PagerDutyIncidents(SecretStr("t"), "https://[").acknowledgement(KEY) == Outcome(
        "parked", "not a valid URL; see PAGERDUTY_API_TOKEN and PAGERDUTY_API_URL"
    )


@pytest.mark.parametrize("token", ["wrong-sesame", "", "clé-sesame", "one-sesame\r\nX-Two: three"])
def test_a_wrong_token_is_parked_and_never_shown(fakes: FakeProviders, token: str):
    incidents = PagerDutyIncidents(SecretStr(token), fakes.events_url)
    outcome = incidents.acknowledgement(KEY)
    assert isinstance(outcome, Outcome)
    assert outcome.kind == "parked"
    assert "PAGERDUTY_API_TOKEN" in outcome.detail
    assert "sesame" not in repr(outcome) + repr(incidents)


def test_a_token_that_pagerduty_repeats_is_redacted(fakes: FakeProviders, incidents: PagerDutyIncidents):
    outcome = answered(fakes, incidents, 401, f"no access for {API_TOKEN}")
    assert API_TOKEN not in outcome.detail
    assert "no access for [redacted]" in outcome.detail


def test_without_a_token_or_with_sending_disabled_nothing_is_polled(monkeypatch: pytest.MonkeyPatch):
    settings = {"PAGERDUTY_API_TOKEN": "open-sesame", "PAGERDUTY_API_URL": "https://api.eu.pagerduty.com"}
    assert incidents_client(read_settings(env_file=None)) is None
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    made = incidents_client(read_settings(env_file=None))
    assert made is not None
    assert (made.api_url, made.token.get_secret_value()) == ("https://api.eu.pagerduty.com", "open-sesame")
    monkeypatch.setenv("AI_AUDIT_SEND", "0")
    assert incidents_client(read_settings(env_file=None)) is None
