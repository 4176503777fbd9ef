"""Slack messages, compared with golden files, with hostile names and with many episodes."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_assets.alerting.channels.slack_message import (
    RESOLVED_COLOR,
    message,
    minimal,
    resolved_reply,
    with_acknowledgements,
)
from audit_assets.alerting.links import Links, is_web_address
from audit_assets.alerting.notify.notification import Contributor, Notification
from audit_assets_tests.alerting.golden import FOLDER, WITH_DRAFTS, payloads, written
from audit_assets_tests.alerting.notification_factories import (
    LINKS,
    acknowledged,
    alert,
    named,
    night,
    notification,
    resolved,
)
from audit_assets_tests.rules.factories import NOW, shipped, shipped_rules
from tools.slack_picture import page

SPIKE = shipped("volume_spike")
GOLDEN = {name: payload for name, payload in payloads().items() if name.startswith("slack/")}
EVIL = "*x*_<!channel> <@U1> <https://evil.example|ok> @here #general :fire: ~y~ `z` ```"


def blocks(payload: dict[str, Any]) -> list[dict[str, Any]]:
    return payload["attachments"][0]["blocks"]


def text_of(payload: dict[str, Any]) -> str:
    """Every text of a message, in order."""
    return "\n".join([payload["text"], *texts(payload)])


def texts(payload: dict[str, Any]) -> list[str]:
    found: list[str] = []

    def look(part: Any) -> None:
        if isinstance(part, dict):
            fields = cast("dict[str, Any]", part)
            if fields.get("type") in ("mrkdwn", "plain_text"):
                found.append(fields["text"])
            else:
                look(list(fields.values()))
        elif isinstance(part, list):
            for each in cast("list[Any]", part):
                look(each)

    look(payload.get("attachments", []))
    return found


def buttons(payload: dict[str, Any]) -> dict[str, str]:
    return {
        element["text"]["text"]: element["url"]
        for block in blocks(payload)
        if block["type"] == "actions"
        for element in block["elements"]
    }


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def assert_within_limits(payload: dict[str, Any]) -> None:
    json.dumps(payload).encode()
    assert 0 < units(payload["text"]) < 3000
    if "attachments" not in payload:
        return
    assert len(payload["attachments"]) == 1
    assert len(blocks(payload)) <= 50
    for block in blocks(payload):
        kind = block["type"]
        if kind == "header":
            assert 0 < units(block["text"]["text"]) <= 150
        if kind == "section" and "text" in block:
            assert 0 < units(block["text"]["text"]) <= 3000
        fields = block.get("fields", [])
        assert len(fields) <= 10
        assert all(0 < units(field["text"]) <= 2000 for field in fields)
        if kind == "context":
            assert 0 < len(block["elements"]) <= 10
            assert all(0 < units(element["text"]) <= 3000 for element in block["elements"])
        if kind == "actions":
            assert 0 < len(block["elements"]) <= 25
            for button in block["elements"]:
                assert units(button["text"]["text"]) <= 75
                assert len(button["url"]) <= 3000
                assert button["url"].isascii()


def markup_of(text: str) -> str:
    """The part of `text` that Slack interprets as markup: without code, and without the text of URLs."""
    text = re.sub(r"https://\S+", lambda found: re.sub(r"[A-Za-z0-9]", "", found[0]), text)
    return re.sub(r"`[^`\n]+`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.mark.requirement("R42")
@pytest.mark.parametrize("name", GOLDEN)
def test_a_message_equals_its_golden_file(name: str):
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == written(GOLDEN[name])


def test_every_shipped_rule_has_a_golden_message_and_no_file_is_left_over():
    files = {path.stem for path in FOLDER.glob("slack/*.json")}
    assert {rule.id for rule in shipped_rules().rules} <= files
    assert files == {name.removeprefix("slack/") for name in GOLDEN}


@pytest.mark.requirement("R42")
def test_a_message_shows_what_how_much_since_when_and_what_next():
    payload = message(notification(SPIKE))
    assert payload["text"] == "AI Copilot Audit Spike: `code_review`, +337 %"
    assert payload["attachments"][0]["color"] == "#7C3AED"
    text = text_of(payload)
    assert "`code_review`: *1,742 calls in 2 hours*, usually 399 (median of these hours over 14 days)" in text
    for field in (
        "*Capability*\n`code_review`",
        "*Delta*\n+337 %",
        "*Window*\n2026-11-23 13:45 to 14:00 UTC",
        "*Since*\n12:45 UTC, for 1 h 20 min",
        "*Limit*\nabove 625 calls in 2 hours",
        "Data known up to 14:03 UTC, 2 min ago",
    ):
        assert field in texts(payload)
    assert list(buttons(payload)) == ["Open Dashboard", "Runbook", "Raw logs"]
    assert buttons(payload)["Open Dashboard"] == "https://bi.example/audit-overview?capability=code_review"


def test_the_others_of_a_message_stand_in_a_table_with_their_bars():
    (table,) = [text for text in texts(message(night())) if text.startswith("```\nalso")]
    assert table.splitlines()[1:-1] == [
        "also              value  usual   delta  last windows",
        "search_answer       610    140  +336 %  ▂▂▃▃▆█",
        "contract_summary    388     96  +304 %  ▃▃▃▆█",
        "translate           212     61  +248 %  ▃▃ ▃▆█",
        "draft_reply         160     44  +264 %  resolved 13:55 UTC",
    ]


def test_beyond_ten_episodes_the_rest_is_counted():
    text = text_of(message(notification(SPIKE, *(named(SPIKE, f"c{number:03}") for number in range(500)))))
    assert "c009" in text
    assert "c010" not in text
    assert "and 490 more" in text
    assert "and 499 more" in text.splitlines()[0]


def test_columns_stay_aligned_where_names_are_wide():
    (table,) = [
        text
        for text in texts(
            message(notification(SPIKE, alert(SPIKE), named(SPIKE, "契約レビュー"), named(SPIKE, "x" * 90)))
        )
        if text.startswith("```")
    ]
    from rich.cells import cell_len

    ends = {cell_len(line[: line.index("+337 %")]) for line in table.splitlines() if "+337" in line}
    assert len(ends) == 1


def test_a_total_names_who_contributes_most():
    payload = message(notification(shipped("total_volume_spike")))
    assert "code_review    3,820    640  +497 %" in text_of(payload)
    assert "*Capability*\nall capabilities" in text_of(payload)


def test_a_message_turns_green_when_its_last_episode_closes():
    first, second = alert(SPIKE), named(SPIKE, "chat")
    assert message(notification(SPIKE, first, resolved(second)))["attachments"][0]["color"] == "#7C3AED"
    payload = message(notification(SPIKE, resolved(first), resolved(second)))
    assert payload["attachments"][0]["color"] == RESOLVED_COLOR
    assert blocks(payload)[0]["text"]["text"] == "Resolved: AI Copilot Audit Spike"


def test_the_worst_open_alert_comes_first():
    payload = message(notification(SPIKE, resolved(alert(SPIKE)), named(SPIKE, "chat")))
    assert payload["text"] == "AI Copilot Audit Spike: `chat`, +337 % and 1 more"
    assert "resolved 14:00 UTC" in text_of(payload)


def test_a_resolved_reply_shows_the_value_now_the_worst_value_and_the_duration():
    over = resolved(alert(SPIKE), history=(1742, 12), baseline=10, peak=1742)
    assert resolved_reply(notification(SPIKE, over), over)["text"] == (
        "`code_review` is back to normal: 12 calls in 2 hours, usually 10; worst value 1,742; lasted 1 h 15 min"
    )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("cleared", "is back to normal"),
        ("rule_removed", "is no longer monitored by this rule: the rule was removed"),
        ("by_hand", "is no longer monitored by this rule: by hand"),
    ],
)
def test_a_resolved_reply_shows_the_reason(reason: str, words: str):
    over = resolved(alert(SPIKE), reason)
    assert words in resolved_reply(notification(SPIKE, over), over)["text"]


def test_a_drill_is_marked_once_and_among_others_at_its_name():
    drill = replace(alert(SPIKE), environment="sim")
    only = message(notification(SPIKE, drill))
    assert blocks(only)[0]["text"]["text"] == "[DRILL] AI Copilot Audit Spike"
    assert only["text"].count("[DRILL]") == 1
    mixed = text_of(message(notification(SPIKE, alert(SPIKE), replace(named(SPIKE, "d1"), environment="sim"))))
    assert "[DRILL] d1" in mixed
    assert not mixed.startswith("[DRILL]")
    assert resolved_reply(notification(SPIKE, drill), resolved(drill))["text"].startswith("[DRILL] ")


@pytest.mark.requirement("R47")
def test_a_message_that_does_not_page_offers_a_draft_incident():
    quiet = notification(shipped("unknown_status"), links=WITH_DRAFTS)
    assert buttons(message(quiet))["Draft incident"].startswith("https://example.pagerduty.com/incidents/create?")
    assert "Draft incident" not in buttons(message(replace(quiet, pages=True)))


@pytest.mark.requirement("R42")
@pytest.mark.parametrize("address", ["", "docs", "javascript:alert(1)", "ftp://bi.example", "https://", "https://a b"])
def test_a_button_that_would_lead_nowhere_is_left_out(address: str):
    payload = message(notification(SPIKE, links=Links(address, address)))
    assert buttons(payload) == {}
    assert "actions" not in {block["type"] for block in blocks(payload)}


def test_raw_logs_lead_to_the_rows_of_the_capability_and_the_window():
    url = LINKS.raw_logs("a&b=c", NOW - timedelta(minutes=15), NOW)
    assert url == (
        "https://bi.example/audit-log?capability=a%26b%3Dc&from=2026-11-23T13%3A50%3A00Z&to=2026-11-23T14%3A05%3A00Z"
    )
    assert "Raw logs" not in buttons(message(notification(shipped("freshness_slo"))))
    assert "from=2026-11-22" in buttons(message(notification(shipped("new_capability"))))["Raw logs"]


@pytest.mark.requirement("R42")
def test_a_name_from_outside_neither_formats_nor_mentions():
    rule = shipped("total_volume_spike")
    parts = (Contributor(EVIL, 5, 1),)
    evil = replace(night(), alerts=(named(SPIKE, EVIL), named(SPIKE, EVIL)), contributors=parts)
    for payload in (message(evil), message(notification(rule, contributors=parts)), minimal(evil)):
        for text in [payload["text"], *(texts(payload) if "attachments" in payload else [])]:
            assert "<" not in text
            assert ">" not in text
            for mark in ("channel", "@here", "#general", ":fire:", "~y~", "*x*"):
                assert mark not in markup_of(text)
    assert "<!channel" not in page(message(evil))
    assert resolved_reply(evil, resolved(evil.alerts[0]))["text"].startswith("`*x*_&lt;!channel&gt;")


def test_a_name_cannot_hide_in_a_message():
    text = text_of(message(notification(SPIKE, named(SPIKE, "pay\u202emal\u200b\x1b[2J\nResolved"))))
    assert "pay\\u202emal\\u200b\\x1b[2J\\x0aResolved" in text


@pytest.mark.parametrize("name", ["x" * 2000, "&" * 2000, "\U000e0001" * 2000, "😀" * 2000, "e" + "\u0301" * 1999, ""])
def test_no_name_and_no_number_of_episodes_breaks_a_limit(name: str):
    many = notification(
        SPIKE,
        *(named(SPIKE, name, history=(1.0,) * 500) for _ in range(500)),
        contributors=(Contributor(name, 1e300, 1e-300),) * 500,
    )
    for payload in (message(many), minimal(many), resolved_reply(many, resolved(many.alerts[0]))):
        assert_within_limits(payload)
    assert_within_limits(message(replace(many, alerts=tuple(resolved(each) for each in many.alerts))))
    by_one = replace(many, alerts=tuple(acknowledged(each, name) for each in many.alerts[1:]))
    by_many = replace(many, alerts=tuple(acknowledged(each, f"{n} {name}") for n, each in enumerate(many.alerts)))
    for payload in (message(by_one), minimal(by_one), message(by_many), minimal(by_many)):
        assert_within_limits(payload)


def acknowledgement_lines(payload: dict[str, Any]) -> list[str]:
    return [text for text in text_of(payload).split("\n") if text.startswith("Acknowledged by")]


@pytest.mark.requirement("R41")
def test_a_message_shows_who_acknowledged_it_and_when():
    ada, grace = acknowledged(named(SPIKE, "a")), acknowledged(named(SPIKE, "b"), "Grace", 1)
    assert acknowledgement_lines(message(notification(SPIKE, named(SPIKE, "a")))) == []
    assert acknowledgement_lines(message(notification(SPIKE, ada))) == ["Acknowledged by `Ada Lovelace` at 14:02 UTC"]
    assert acknowledgement_lines(
        message(notification(SPIKE, ada, resolved(named(SPIKE, "b"))))
    ) == acknowledgement_lines(message(notification(SPIKE, ada)))
    assert acknowledgement_lines(message(notification(SPIKE, ada, grace))) == [
        "Acknowledged by `Ada Lovelace` at 14:02 UTC: `a`",
        "Acknowledged by `Grace` at 14:04 UTC: `b`",
    ]
    assert acknowledgement_lines(message(notification(SPIKE, ada, named(SPIKE, "b")))) == [
        "Acknowledged by `Ada Lovelace` at 14:02 UTC: `a`"
    ]
    assert acknowledgement_lines(minimal(notification(SPIKE, ada))) == ["Acknowledged by `Ada Lovelace` at 14:02 UTC"]


@pytest.mark.requirement("R41")
def test_many_acknowledgements_are_counted():
    crowd = [acknowledged(named(SPIKE, f"c{n}"), f"person {n % 7}", minutes_ago=n) for n in range(70)]
    lines = acknowledgement_lines(message(notification(SPIKE, *crowd)))
    assert lines[0] == "Acknowledged by `person 0` at 13:02 UTC: `c0`, `c7`, `c14` and 7 more"
    assert (len(lines), lines[-1]) == (5, "Acknowledged by 3 more")


@pytest.mark.requirement("R41")
@pytest.mark.parametrize("form", [message, minimal])
def test_an_acknowledgement_is_added_to_a_sent_message_as_to_a_new_one(form: Any):
    before = night()
    first = replace(before, alerts=(acknowledged(before.alerts[0]), *before.alerts[1:]))
    second = replace(before, alerts=tuple(map(acknowledged, before.alerts)))
    payload = form(before)
    for after in (first, second, second):
        payload = with_acknowledgements(payload, after.alerts, NOW)
        assert payload == form(after)


_FIGURES = st.one_of(st.none(), st.floats(), st.integers(-(10**6), 10**12).map(float))


@given(
    names=st.lists(st.text(max_size=40), min_size=1, max_size=12),
    figures=st.tuples(_FIGURES, _FIGURES, _FIGURES, _FIGURES, _FIGURES),
    history=st.lists(_FIGURES, max_size=20),
    rule=st.sampled_from(shipped_rules().rules),
    over=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_in_a_message_is_within_limits_and_mentions_nobody(
    names: list[str], figures: tuple[float | None, ...], history: list[float | None], rule: Any, over: bool
):
    value, baseline, threshold, delta, peak = figures
    changes = {
        "value": value,
        "baseline": baseline,
        "threshold": threshold,
        "delta_percent": delta,
        "peak": peak,
        "history": tuple(history),
    }
    episodes = [named(rule, name, **changes) for name in names]
    made: Notification = notification(rule, *(map(resolved, episodes) if over else episodes), data_until=None)
    for payload in (message(made), minimal(made), resolved_reply(made, resolved(made.alerts[0]))):
        assert_within_limits(payload)
        assert "<" not in payload["text"]
    for text in texts(message(made))[1:]:
        assert "<" not in text
        assert text.count("`") % 2 == 0


@given(st.text(max_size=60))
def test_what_counts_as_an_address_is_one_line_to_a_host(link: str):
    assert not is_web_address(link) or (link.startswith(("http", "HTTP")) and link.isprintable())


def test_the_fallback_without_blocks_is_text_with_the_links():
    payload = minimal(night())
    assert set(payload) == {"text"}
    assert "https://docs.example/INGESTION_WORKFLOW.md#volume_spike" in payload["text"]
    assert "usually 399" in payload["text"]
