"""What the rules would have judged: everything that is published, as a backtest replays it."""

from datetime import UTC, datetime, timedelta

import polars as pl

from audit_assets.alerting.live_facts import LIVE, LiveFacts
from audit_assets.rules.calendar import read_calendar
from audit_assets.rules.facts import TABLES
from audit_assets.rules.sync_facts import sync_facts_over
from audit_assets.rules.time_facts import registry_history, with_time_facts
from audit_assets.settings import Settings
from audit_assets.warehouse.facts import read_facts, read_sync_rows
from audit_assets.warehouse.snapshot import open_snapshot

_REGISTRY, _SYNC_STATE = "ai_audit_capabilities", "ai_audit_sync_state"

_EVERY = timedelta(minutes=5)  # how often the sync's rules are asked in a replay


def replayed_facts(settings: Settings, lookback: timedelta) -> LiveFacts:
    """All that is published, the registry and the sync at the moments at which they would have been judged.

    Raises SnapshotError where nothing has been published, CalendarError.
    """
    calendar = read_calendar(settings.calendar_file)
    with open_snapshot(settings.snapshot_folder, TABLES) as connection:
        tables = read_facts(connection, TABLES)
        runs = read_sync_rows(connection, newest=None)
    ended = [run.last_synced_at for run in runs if run.last_synced_at is not None]
    as_of = max(ended, default=datetime.now(UTC))
    told: dict[str, pl.DataFrame] = with_time_facts(tables, as_of, calendar)
    if _REGISTRY in tables:
        told[_REGISTRY] = registry_history(tables[_REGISTRY])
    told[_SYNC_STATE] = sync_facts_over(runs, calendar, lookback, as_of, _EVERY, LIVE)
    return LiveFacts(told, as_of, calendar)
