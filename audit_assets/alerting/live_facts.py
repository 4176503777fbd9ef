"""What the rules judge at this moment: the published tables, the clock's columns and how the sync is doing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from audit_assets.rules.calendar import BusinessCalendar, read_calendar
from audit_assets.rules.facts import TABLES
from audit_assets.rules.sync_facts import sync_facts
from audit_assets.rules.time_facts import with_time_facts
from audit_assets.settings import Settings
from audit_assets.warehouse.facts import read_facts, read_sync_rows
from audit_assets.warehouse.snapshot import open_snapshot

# An episode that began earlier is told as having begun then.
_FOLLOWED = timedelta(days=3)

_SYNC_STATE = "ai_audit_sync_state"

LIVE = "live"  # the environment that the sync itself belongs to; drills are `sim`


@dataclass(frozen=True)
class LiveFacts:
    """Table to rows; `as_of` (UTC) is up to when the source has been read: what is later is not known yet."""

    tables: Mapping[str, pl.DataFrame]
    as_of: datetime
    calendar: BusinessCalendar


def live_facts(settings: Settings, lookback: timedelta, now: datetime) -> LiveFacts:
    """The facts at `now` (UTC) from the published snapshot. Raises SnapshotError where there is none, CalendarError."""
    calendar = read_calendar(settings.calendar_file)
    with open_snapshot(settings.snapshot_folder, TABLES) as connection:
        tables = read_facts(connection, TABLES, (now - _FOLLOWED).date())
        runs = read_sync_rows(connection)
    tables[_SYNC_STATE] = sync_facts(runs, calendar, lookback, now, LIVE)
    synced = [run.last_synced_at for run in runs if run.status == "succeeded" and run.last_synced_at is not None]
    as_of = min(now, max(synced, default=now))
    return LiveFacts(with_time_facts(tables, now, calendar), as_of, calendar)
