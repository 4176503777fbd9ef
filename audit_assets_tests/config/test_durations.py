"""Durations and time zones in YAML files."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from audit_assets.config.validation import Duration, Timezone, parse_duration

pytestmark = pytest.mark.requirement("R37")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("30s", timedelta(seconds=30)),
        (" 15m ", timedelta(minutes=15)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        (timedelta(minutes=1), timedelta(minutes=1)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(written: Any, meant: timedelta):
    assert parse_duration(written) == meant
    assert TypeAdapter(Duration).validate_python(written) == meant


@pytest.mark.parametrize("written", ["", "15", 15, "0m", "-5m", "1.5h", "1h30m", "1w", "1234567s", None, True, "१m x"])
def test_an_invalid_duration_is_rejected_with_an_example(written: Any):
    with pytest.raises(ValueError, match="write a number and a unit, such as 30s, 15m, 24h or 7d"):
        parse_duration(written)


def test_a_time_zone_is_one_that_is_known():
    assert TypeAdapter(Timezone).validate_python("America/Los_Angeles") == "America/Los_Angeles"


@pytest.mark.parametrize("written", ["", "Mars/Base", "America", "../../etc/passwd", "/etc/passwd", "a\0b", "PDT"])
def test_an_invalid_time_zone_is_rejected_with_an_example(written: str):
    with pytest.raises(ValidationError, match="is not an IANA time zone; write one such as America/Los_Angeles"):
        TypeAdapter(Timezone).validate_python(written)
