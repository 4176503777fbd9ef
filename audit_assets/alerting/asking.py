"""Which incidents PagerDuty is asked about, and when, to learn who took them; pure."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from audit_assets.alerting.record import OnRecord

EVERY = timedelta(minutes=1)  # that an incident is asked about
AT_ONCE = 20  # questions a round; PagerDuty takes 960 a minute of one token

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """One incident, by its dedup key, and the keys of the episodes it tells of: one, or many where it is the summary of
    their message."""

    key: str
    group_key: str
    episodes: tuple[str, ...]


def questions(known: Iterable[OnRecord], at_pagerduty: Container[str], now: datetime) -> list[Question]:
    """What is to be asked at `now`: of the incidents that are `at_pagerduty`, those with open episodes that nobody has
    taken, unless they were asked about within `EVERY`. Those that waited longest come first, so that all have their
    turn where there are more than `AT_ONCE`."""
    waiting: dict[str, list[OnRecord]] = {}
    for one in known:
        if one.told.state != "resolved" and one.told.acknowledged_at is None and one.incident_key in at_pagerduty:
            waiting.setdefault(one.incident_key, []).append(one)
    last = {key: max(one.asked_at or _NEVER for one in several) for key, several in waiting.items()}
    due = sorted((key for key in waiting if now - last[key] >= EVERY), key=last.__getitem__)
    return [
        Question(key, waiting[key][0].group_key, tuple(one.told.key for one in waiting[key])) for key in due[:AT_ONCE]
    ]
