"""What the rules on the sync itself judge (freshness_slo, sync_failed, long_transaction): the newest runs as one row of
facts. Pure: runs, calendar and `now` come in."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from audit_assets.rules.business_clock import business_minutes_between, is_open
from audit_assets.rules.calendar import BusinessCalendar
from audit_assets.rules.facts import TABLES
from audit_assets.warehouse.protocol import SyncRow

SYNC_FACTS_TABLE = "ai_audit_sync_state"

SYNC_FACTS_SCHEMA = TABLES[SYNC_FACTS_TABLE].schema

_MINUTE = timedelta(minutes=1)
_LOOKED_AT = 50  # runs, of a replay: as many as are read live

_Fact = datetime | str | float | None


def sync_facts(
    rows: Sequence[SyncRow], calendar: BusinessCalendar, lookback: timedelta, now: datetime, environment: str
) -> pl.DataFrame:
    """One row by SYNC_FACTS_SCHEMA at `now`, null where a figure is not known; minutes are never negative.

    `rows` are the newest runs in any order, the last success among them. A run that is still running, or died so, is
    neither success nor failure. Raises ValueError where `now` has no time zone.
    """
    return _frame([_facts_at(rows, calendar, lookback, now, environment)])


def sync_facts_over(
    rows: Sequence[SyncRow],
    calendar: BusinessCalendar,
    lookback: timedelta,
    until: datetime,
    every: timedelta,
    environment: str,
) -> pl.DataFrame:
    """The facts as they were at each `every` from the first run's end to `until` (UTC), for a backtest; a row each."""
    ended = sorted((row for row in rows if row.status != "running"), key=_ended)
    ends = [_ended(row) for row in ended]
    told: list[dict[str, _Fact]] = []
    at = ends[0] if ends else until
    while ends and at <= until:
        known = bisect_right(ends, at)
        recent = ended[max(0, known - _LOOKED_AT) : known]
        told.append(_facts_at(recent, calendar, lookback, at, environment))
        at += every
    return _frame(told)


def _frame(rows: list[dict[str, _Fact]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(SYNC_FACTS_SCHEMA), orient="row")


def _facts_at(
    rows: Sequence[SyncRow], calendar: BusinessCalendar, lookback: timedelta, now: datetime, environment: str
) -> dict[str, _Fact]:
    if now.tzinfo is None:
        raise ValueError("now has no time zone; give it in UTC")
    synced = max((row.last_synced_at for row in rows if row.last_synced_at and _reached_the_present(row)), default=None)
    failures = [_ended(row) for row in rows if row.status == "failed"]
    newest = max(
        (row for row in rows if row.status != "running"), key=lambda row: (row.started_at, row.sync_id), default=None
    )
    oldest_write = newest.oldest_write_seconds if newest else None
    return {
        "judged_at": now.astimezone(UTC),
        "environment": environment,
        "ever_synced": synced is not None,
        "minutes_since_sync": _minutes(synced, now),
        "business_minutes_since_sync": None if synced is None else business_minutes_between(calendar, synced, now),
        "minutes_behind_source": _minutes_behind(newest) if newest else None,
        "failed_in_a_row": sum(synced is None or ended > synced for ended in failures),
        "minutes_since_failure": _minutes(max(failures, default=None), now),
        "oldest_write_minutes": None if oldest_write is None else oldest_write / 60,
        "lookback_minutes": lookback / _MINUTE,
        "sessions_visible": newest.sessions_visible if newest else None,
        "in_business_hours": is_open(calendar, now),
    }


def _reached_the_present(row: SyncRow) -> bool:
    """Whether the run succeeded and read up to when it started: loading days of last year makes nothing fresh."""
    if row.status != "succeeded":
        return False
    return row.mode != "days" or (row.window_end is not None and row.window_end >= row.started_at)


def _ended(row: SyncRow) -> datetime:
    """When the run ended; a failure's own last commit, if any, was earlier."""
    if row.status == "succeeded" and row.last_synced_at:
        return row.last_synced_at
    return row.started_at + timedelta(milliseconds=row.sync_duration_ms)


def _minutes_behind(newest: SyncRow) -> float | None:
    """From the watermark to the newest row at the source. A row dated after the run, by a client whose clock is ahead,
    counts as of the run's end: the watermark never passes the source's now."""
    if newest.source_max_created_at is None or newest.watermark is None:
        return None
    return _minutes(newest.watermark, min(newest.source_max_created_at, _ended(newest)))


def _minutes(since: datetime | None, until: datetime) -> float | None:
    """At least 0: a clock may have been set back."""
    return None if since is None else max(timedelta(), until - since) / _MINUTE
