"""Tests of reading an HTTP response: Retry-After, JSON objects, and redaction of secrets."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_assets.alerting.channels.http_client import (
    LONGEST_WAIT,
    REDACTED,
    json_object,
    one_line,
    redact,
    retry_after,
)

NOW = datetime(2026, 3, 8, 9, 59, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("0", 0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2),
        ("Sun, 08 Mar 2026 10:00:20 GMT", 30),
        ("Sunday, 08-Mar-26 10:00:20 GMT", 30),
        ("Sun, 08 Mar 2026 02:00:20 -0800", 30),
        ("Sun, 08 Mar 2026 10:00:20 -0000", 30),
        ("Sun, 08 Mar 2026 09:00:00 GMT", 0),
    ],
)
def test_a_wait_is_read_as_seconds_or_as_a_date(header: str, seconds: float):
    assert retry_after(header, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("header", ["900.5", "3600", "9" * 400, "Sun, 08 Mar 2026 11:00:00 GMT"])
def test_no_wait_is_longer_than_fifteen_minutes(header: str):
    assert retry_after(header, NOW) == LONGEST_WAIT == timedelta(minutes=15)


@pytest.mark.parametrize(
    "header", [None, "", "-1", "-0.5", "soon", "nan", "inf", "1e3", "1_0", "٣", "1 2", "Sun, 99 Mar 2026 99:00:00 GMT"]
)
def test_a_wait_that_cannot_be_read_is_none(header: str | None):
    assert retry_after(header, NOW) is None


@given(st.text(max_size=60) | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} [\d:]{1,9} [+-]?\w{1,6}"))
def test_whatever_a_header_holds_the_wait_is_none_or_within_its_bounds(header: str):
    wait = retry_after(header, NOW)
    assert wait is None or timedelta(0) <= wait <= LONGEST_WAIT


@pytest.mark.parametrize("text", ["", "<html>", "ok", "[1]", "null", '"ok"', "{", "[" * 100_000])
def test_only_an_object_is_an_object(text: str):
    assert json_object(text) is None


def test_an_object_is_read():
    assert json_object('{"ok": true}') == {"ok": True}


def test_a_secret_is_redacted_plain_and_percent_encoded():
    text = "token=xoxb%2Fone and xoxb/one and xoxb/one-more"
    assert redact(text, ["xoxb/one", "xoxb/one-more"]) == f"token={REDACTED} and {REDACTED} and {REDACTED}"


def test_without_a_secret_nothing_is_redacted():
    assert redact("all of it", [""]) == "all of it"


def test_a_line_is_redacted_before_it_is_cut_so_that_no_part_of_a_secret_stays():
    secret = "open-sesame-open-sesame"
    for before in range(20, 60):
        line = one_line("x" * before + secret, [secret], longest=40)
        assert "open" not in line
        assert len(line) <= 40


def test_a_line_is_one_line_and_moves_no_cursor():
    assert one_line("one\r\n  two\x1b[2J\u202e", []) == "one two\\x1b[2J\\u202e"
    assert one_line(" \n ", []) == ""
