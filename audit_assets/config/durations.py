"""Durations and time zones in YAML files."""

import re
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: Any) -> timedelta:
    """`30s`, `15m`, `24h` or `7d` as a timedelta. Raises ValueError on anything else, including zero."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,6})([smhd])", str(value).strip())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit, such as 30s, 15m, 24h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: `America` is a directory of zones
        raise ValueError(f"{name!r} is not an IANA time zone; write one such as America/Los_Angeles") from error
    return name


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Timezone = Annotated[str, AfterValidator(_known_timezone)]
