"""A new capability whose name looks like a registered one is shown with that name and the differences."""

import sqlite3
import time
from datetime import timedelta

import polars as pl
import pytest

from audit_assets.alerting.channels.slack_message import message
from audit_assets.alerting.notify.context import look_alikes
from audit_assets.alerting.notify.enqueue import (
    _mark_in_summary as mark_in_summary,  # pyright: ignore[reportPrivateUsage] - called with more keys than it is worth to record
)
from audit_assets.rules.facts import add_new_capabilities
from audit_assets_tests.alerting.ledger_factories import NOON, Book, episode, rule_result
from audit_assets_tests.alerting.notification_factories import named, notification
from audit_assets_tests.rules.factories import shipped

pytestmark = pytest.mark.requirement("R34", "R42")

KNOWN = ("code_review", "café_search", "chat")


@pytest.mark.parametrize(
    ("name", "other", "differs_by"),
    [
        ("cod\u0435_review", "code_review", "Cyrillic \u0435 (U+0435)"),
        ("\u0441\u043ede_review", "code_review", "Cyrillic \u0441 (U+0441), Cyrillic \u043e (U+043E)"),
        ("Code_Review", "code_review", "letter case"),
        ("cafe\u0301_search", "café_search", "Unicode normalization (NFC or NFD)"),
        ("cha\u200bt", "chat", "Zero width space (U+200B)"),
        ("chat ", "chat", "leading or trailing spaces"),
        ("c0de_review", "code_review", "the digit 0"),
        ("\uff43hat", "chat", "Fullwidth \uff43 (U+FF43)"),
        ("\u03bfode", "oode", "Greek \u03bf (U+03BF)"),
    ],
)
def test_a_name_that_looks_like_another_is_found_with_what_differs(name: str, other: str, differs_by: str):
    found = look_alikes([name], [*KNOWN, "oode", name])
    assert found[name][0] == other
    assert ", ".join(found[name][1]) == differs_by


@pytest.mark.parametrize("name", ["code_reviews", "chat", "chats", "review_code", "", "会話"])
def test_a_name_of_its_own_looks_like_none(name: str):
    assert look_alikes([name], [*KNOWN, name]) == {}


def test_twenty_thousand_names_are_compared_in_no_time():
    names = [f"text {number:x} of a request" for number in range(20_000)]
    began = time.monotonic()
    look_alikes(names, names)
    assert time.monotonic() - began < 20


def test_the_message_shows_what_a_new_capability_looks_like():
    rule = shipped("new_capability")
    name = "cod\u0435_review"
    made = message(notification(rule, named(rule, name), look_alikes=look_alikes([name], KNOWN)))
    text = str(made["attachments"][0]["blocks"])
    assert f"`{name}` looks like `code_review`, differs by: Cyrillic \u0435 (U+0435)" in text


def test_the_registry_is_what_a_new_name_is_compared_with(sqlite_book: Book):
    registry = pl.DataFrame({"environment": ["live"] * 2, "capability": ["code_review", "Code_review"]})
    new = rule_result(episode("Code_review", rule="new_capability"), rule="new_capability")
    sqlite_book.tables = {"ai_audit_capabilities": registry}
    sqlite_book.record(new)
    posts = [row.payload for row in sqlite_book.rows("deliveries") if row.action == "post"]
    assert posts
    assert all("looks like `code_review`, differs by: letter case" in post for post in posts)


def test_forty_thousand_episodes_of_one_message_fit_the_statements_of_sqlite(sqlite_book: Book):
    crowd = [episode(f"one-off {number}") for number in range(3)]
    sqlite_book.record(rule_result(*crowd))
    keys = [row.key for row in sqlite_book.rows("alerts")]
    rule = shipped("volume_spike")
    rest = [named(rule, "x", key=key) for key in [*keys, *(f"k{n}" for n in range(40_000))]]
    with sqlite_book.ledger.transaction() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)  # SQLite's own; Debian allows more
        mark_in_summary(connection, rest)
    assert all(row.in_summary for row in sqlite_book.rows("alerts"))


@pytest.mark.parametrize(("hours", "last_hour", "last_day"), [(0.5, 20_000, 20_000), (5, 0, 20_000), (25, 0, 0)])
def test_capabilities_registered_within_a_day_are_counted_for_the_cardinality_rule(
    hours: float, last_hour: int, last_day: int
):
    at, number = NOON - timedelta(hours=hours), 20_000
    news = pl.DataFrame(
        {"environment": ["live"] * number, "registered_at": [at] * number, "registered_silently": [False] * number}
    )
    others = pl.DataFrame(
        {"environment": ["live", "sim"], "registered_at": [at] * 2, "registered_silently": [True, False]}
    )
    facts = add_new_capabilities(pl.DataFrame({"judged_at": [NOON]}), pl.concat([news, others]))
    assert facts.select("new_capabilities_1h", "new_capabilities_1d").row(0) == (last_hour, last_day)
