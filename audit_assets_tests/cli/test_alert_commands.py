"""`audit alerts` and `audit watchdog`: output, rejected arguments, effects."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from audit_assets.access.document import MarkersError
from audit_assets.alerting.ledger.tables import alerts, drills, open_ledger
from audit_assets.drills.outcomes import page_with, recorded_drills
from audit_assets_tests.alerting.conftest import API_TOKEN, CHANNELS, ROUTING_KEY, TOKEN
from audit_assets_tests.alerting.ledger_factories import QUARTER, Book, episode, later, rule_result
from audit_assets_tests.cli.running import Audit, error_line
from audit_assets_tests.environments import NOW, Home
from tools.fakes.providers import INCIDENTS_PATH, FakeProviders

pytestmark = pytest.mark.requirement("R41", "R45")


@pytest.fixture
def book(empty_home: Home) -> Iterator[Book]:
    """The ledger of an empty home, with one episode."""
    ledger = open_ledger(empty_home.settings().ledger_url)
    book, now = Book(ledger), NOW
    book.record(rule_result(episode("chat", at=now), at=now), now=now)
    yield book
    ledger.close()


@pytest.fixture
def fakes(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders(tmp_path / "requests.jsonl", routing_key=ROUTING_KEY, token=TOKEN, channels=CHANNELS) as playing:
        monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
        monkeypatch.setenv("SLACK_BASE_URL", playing.slack_url)
        monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", ROUTING_KEY)
        monkeypatch.setenv("PAGERDUTY_EVENTS_URL", playing.events_url)
        yield playing


def test_open_episodes_are_listed_with_what_waits(audit: Audit, book: Book):
    figures = audit("alerts", "list", "--json").figures
    (alert,) = figures["alerts"]
    assert (alert["rule_id"], alert["dimensions"], alert["state"]) == ("volume_spike", {"capability": "chat"}, "firing")
    assert figures["waiting"] == {"pending": 2}
    result = audit("alerts", "list")
    assert "volume_spike" in result.out
    assert "2 pending" in result.err


def test_nothing_is_open_where_every_episode_is_over(audit: Audit, book: Book):
    book.record(rule_result(at=NOW + QUARTER), now=NOW + QUARTER)
    result = audit("alerts", "list")
    assert (result.code, result.out) == (0, "No alert is open.\n")


def test_nothing_has_fired_where_rules_were_judged_and_found_nothing(audit: Audit, empty_home: Home):
    with open_ledger(empty_home.settings().ledger_url) as ledger:
        Book(ledger).record(rule_result(at=NOW), now=NOW)
    result = audit("alerts", "list", "--all")
    assert (result.code, result.out) == (0, "No alert has fired yet.\n")


def test_one_episode_is_shown_with_what_happened_and_what_was_sent(audit: Audit, book: Book, fakes: FakeProviders):
    audit("alerts", "deliver")
    key = book.open()[0]
    figures = audit("alerts", "show", key, "--json").figures
    assert [one["kind"] for one in figures["events"]] == ["opened"]
    # The shipped route pages nobody before a drill has been recorded.
    assert {one["target"].split(":")[0]: one["status"] for one in figures["deliveries"]} == {
        "pagerduty": "suppressed",
        "slack": "sent",
    }
    result = audit("alerts", "show", key[-12:])
    assert "post to slack:#ai-copilot-ops: sent" in result.out
    assert "does not page before a drill of volume_spike has passed" in result.out
    assert "no such alert" in error_line(audit("alerts", "show", "nonsense"), 2)


def test_a_silence_suppresses_new_alerts_and_is_ended_by_its_id(audit: Audit, book: Book, fakes: FakeProviders):
    asked = ["alerts", "silence", "--rule", "volume_spike", "--for", "2h", "--reason", "a move"]
    made = audit(*asked, "--json").figures["id"]
    assert audit("alerts", "deliver", "--json").figures["held"] == 2
    assert fakes.messages() == []
    listed = audit("alerts", "list")
    assert f"silence {made}: volume_spike until " in listed.out
    assert "a move" in listed.out
    assert audit("alerts", "unsilence", str(made)).out == f"silence {made} has ended\n"
    audit("alerts", "deliver")
    assert len(fakes.messages()) == 1
    assert "no such silence, or it is over" in error_line(audit("alerts", "unsilence", str(made)), 2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--for 2h --reason x", "it would silence everything"),
        ("--rule volume_spik --reason x", "volume_spik: no such rule; did you mean volume_spike?"),
        ("--rule volume_spike --for soon --reason x", "--for: 'soon' is not a duration"),
        ("--rule volume_spike", "a reason is required"),
        ("--rule volume_spike --reason x --from 2026-11-01T08:00", "has no time zone; add Z for UTC"),
        ("--rule volume_spike --reason x --from 2020-01-01T08:00Z", "end before it starts"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused_in_one_line(audit: Audit, book: Book, arguments: str, expected: str):
    assert expected in error_line(audit("alerts", "silence", *arguments.split()), 2)


@pytest.fixture
def woken(book: Book, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of an episode whose incident is open at PagerDuty, with a token to read acknowledgements."""
    monkeypatch.setenv("PAGERDUTY_API_TOKEN", API_TOKEN)
    monkeypatch.setenv("PAGERDUTY_API_URL", fakes.events_url)
    fakes.pagerduty.api_token = API_TOKEN
    passed = {"id": "d1", "drill": "spike", "rule_id": "volume_spike", "capability": "drill-d1", "began_at": later()}
    with book.ledger.transaction() as connection:
        connection.execute(insert(drills).values(**passed, told=2, passed=True))
    return book.open()[0]


def asked_again(book: Book) -> None:
    """A minute later."""
    with book.ledger.transaction() as connection:
        connection.execute(update(alerts).values(acknowledgement_asked_at=None))


def test_who_took_it_is_read_back_listed_and_shown(audit: Audit, book: Book, woken: str, fakes: FakeProviders):
    assert audit("alerts", "deliver", "--json").figures["acknowledged"] == 0
    assert "acked (UTC)" not in audit("alerts", "list").out
    fakes.pagerduty.acknowledge(woken, "Ada [bold]/[/x]", later(minutes=3))
    asked_again(book)
    assert "1 acknowledged" in audit("alerts", "deliver").out
    audit("alerts", "deliver")
    (message,) = fakes.messages()
    assert "Acknowledged by `Ada [bold]/[/x]` at 2026-11-24 12:03 UTC" in str(message.content)
    (alert,) = audit("alerts", "list", "--json").figures["alerts"]
    at = "2026-11-24T12:03:00+00:00"
    assert (alert["acknowledged_at"], alert["acknowledged_by"]) == (at, "Ada [bold]/[/x]")
    assert "acked (UTC)" in audit("alerts", "list").out
    result = audit("alerts", "show", woken)
    assert result.code == 0
    assert "2026-11-24 12:03:00 UTC  acknowledged: by Ada [bold]/[/x]\n" in result.out
    events = audit("alerts", "show", woken, "--json").figures["events"]
    assert [one["kind"] for one in events] == ["opened", "acknowledged"]


def test_a_token_that_may_not_read_is_reported_with_its_fix_and_fails_nothing(
    audit: Audit, book: Book, woken: str, fakes: FakeProviders
):
    fakes.pagerduty.api_token = "another"
    result = audit("alerts", "deliver")
    assert result.code == 0
    assert "acknowledgements cannot be read: 401 Unauthorized; PAGERDUTY_API_TOKEN must be a read-only" in result.err
    figures = audit("alerts", "deliver", "--json").figures
    assert figures["acknowledgements_trouble"].startswith("401 Unauthorized; PAGERDUTY_API_TOKEN")
    assert API_TOKEN not in result.out + result.err + str(figures)


def test_without_a_token_nobody_is_asked(
    audit: Audit, book: Book, woken: str, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PAGERDUTY_API_TOKEN")
    assert audit("alerts", "deliver", "--json").figures["acknowledgements_trouble"] is None
    assert [path for path, _ in fakes.bodies if path == INCIDENTS_PATH] == []


def test_what_was_parked_is_put_back_in_line(audit: Audit, book: Book, fakes: FakeProviders):
    fakes.slack.bad_token = True
    result = audit("alerts", "deliver", "--json")
    assert (result.code, result.figures["parked"]) == (1, 1)
    assert TOKEN not in result.out + result.err
    fakes.slack.bad_token = False
    assert audit("alerts", "retry", "--json").figures == {"again": 1}


@pytest.mark.requirement("R39")
def test_drills_are_listed_and_the_last_of_each_is_written_into_the_page(audit: Audit, book: Book):
    assert "No drill has been recorded yet" in audit("alerts", "drills").out
    rows = [("a", 40.0, None, False, later()), ("b", 11.0, 9.5, True, later(hours=1))]
    with book.ledger.transaction() as connection:
        for name, detected, recovered, passed, began in rows:
            row = {"id": name, "drill": "spike", "rule_id": "volume_spike", "capability": f"drill-{name}"}
            spans = {"detected_after_seconds": detected, "recovered_after_seconds": recovered}
            connection.execute(insert(drills).values(**row, **spans, told=2, began_at=began, passed=passed))
        known = recorded_drills(connection)
    assert [one["passed"] for one in audit("alerts", "drills", "--json").figures["drills"]] == [True, False]
    page = page_with("before\n<!-- drills -->\nwhat was there\n<!-- /drills -->\nafter\n", known)
    assert page.startswith("before\n<!-- drills -->\n| drill | date (UTC)")
    link = "[volume_spike](INGESTION_WORKFLOW.md#volume_spike)"
    assert (
        f"| spike | 2026-11-24 13:00 | `volume_spike` | 11 s | 10 s | 2 | passed | {link} |\n<!-- /drills -->" in page
    )
    assert "what was there" not in page
    with pytest.raises(MarkersError, match="lacks the markers"):
        page_with("nothing", known)


@pytest.mark.requirement("R46")
def test_the_watchdog_opens_one_incident_and_closes_it(
    audit: Audit, book: Book, fakes: FakeProviders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_AUDIT_WATCHDOG_ROUTING_KEY", ROUTING_KEY)
    for _ in range(2):
        result = audit("watchdog")
        assert result.code == 1
        assert "the deliverer has never run" in result.out
    (incident,) = fakes.incidents().values()
    assert (incident.opened, incident.severity) == (1, "critical")
    audit("alerts", "deliver")
    well = audit("watchdog", "--json")
    assert (well.code, well.figures) == (0, {"well": True, "troubles": []})
    assert [one.state for one in fakes.incidents().values()] == ["resolved"]


@pytest.mark.requirement("R46")
def test_a_ledger_that_cannot_be_read_is_reported_without_its_password(
    audit: Audit, empty_home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_AUDIT_LEDGER_URL", "postgresql+psycopg2://reader:open-sesame@127.0.0.1:1/app")
    result = audit("watchdog", "--json")
    assert result.code == 1
    assert [one["about"] for one in result.figures["troubles"]] == ["ledger"]
