"""What an HTTP answer says, whoever gave it: status, JSON, how long to wait, and a line of it without secrets."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import quote

from audit_assets.alerting.outcome import OutcomeKind
from audit_assets.alerting.outside_text import shown

# A provider that asks for an hour is asked again sooner: a page that waits an hour is no page.
LONGEST_WAIT = timedelta(minutes=15)
LONGEST_LINE = 200  # characters of an answer that are kept
REDACTED = "[redacted]"

# Statuses that mean the same whoever answers. What is in neither row may pass by itself: it is sent again.
_A_PERSON_MENDS = frozenset({401, 402, 403, 404, 405, 407, 410})
_CONTENT_IS_REFUSED = frozenset({400, 413, 414, 415, 422})


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read to its end. `retry_after` is the header as it came."""

    status: int
    text: str
    retry_after: str | None = None


def is_success(status: int) -> bool:
    """Whether `status` is a 2xx; that alone is no proof that anything was taken."""
    return 200 <= status < 300


def kind_of_status(status: int) -> OutcomeKind:
    """What a status alone says; never that something was sent, for which the body has to speak."""
    if status in _A_PERSON_MENDS:
        return "parked"
    return "refused" if status in _CONTENT_IS_REFUSED else "retry"


def json_object(text: str) -> dict[str, Any] | None:
    """`text` as a JSON object, or None where it is anything else (a proxy's page, a bare word, nothing)."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """How long `Retry-After` asks to wait from `now` (aware): seconds, whole or not, or an HTTP date.

    None where it says nothing that can be read, zero where its date has passed, never more than LONGEST_WAIT.
    """
    said = (header or "").strip()
    if re.fullmatch(r"[0-9]*\.?[0-9]+|[0-9]+\.", said):
        seconds = float(said)
        return timedelta(seconds=min(seconds, LONGEST_WAIT.total_seconds())) if math.isfinite(seconds) else LONGEST_WAIT
    try:
        moment = parsedate_to_datetime(said)
        if moment.tzinfo is None:  # "-0000": a time in UTC that says nothing of where it was written
            moment = moment.replace(tzinfo=UTC)
        wait = moment - now
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return min(max(wait, timedelta(0)), LONGEST_WAIT)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """`text` without `secrets`, as they are or percent-encoded."""
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""))}
    for form in sorted(forms, key=len, reverse=True):  # the longest first, so that no rest of it stays
        text = text.replace(form, REDACTED)
    return text


def short_line(text: str, secrets: Iterable[str], longest: int = LONGEST_LINE) -> str:
    """`text` as one line of at most `longest` shown characters, redacted before it is cut. Empty where it is."""
    line = " ".join(redacted(text, secrets).split())
    return shown(line, longest) if line else ""
