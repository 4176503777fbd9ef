"""The inputs of evaluation and delivery: routes with their channels, and the facts, live or replayed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl

from audit_assets.rules.business_clock import BusinessCalendar, read_calendar
from audit_assets.rules.facts import (
    REGISTRY,
    SYNC_STATE,
    TABLES,
    add_new_capabilities,
    add_time_facts,
    registry_history,
)
from audit_assets.rules.pipeline_facts import sync_facts, sync_facts_history
from audit_assets.rules.routing import Routing, read_routing
from audit_assets.settings import Settings
from audit_assets.warehouse.attempts import FailedAttempt, failed_attempts
from audit_assets.warehouse.facts import DISCREPANCIES, read_discrepancies, read_facts, read_sync_runs
from audit_assets.warehouse.protocol import SyncRun
from audit_assets.warehouse.snapshot import open_snapshot, read_manifest

LIVE = "live"  # the environment of the sync itself; drills have `sim`

# How far back facts are loaded. An episode that began earlier is reported as having begun then.
_HISTORY = timedelta(days=3)
_REPLAY_STEP = timedelta(minutes=5)  # how often a replay evaluates the rules about the sync


def load_routing(settings: Settings) -> Routing:
    """The routes, with the channels from the settings. Raises RoutingError."""
    return read_routing(settings.routing_file).with_channels(settings.slack_channel, settings.slack_compliance_channel)


@dataclass(frozen=True)
class LiveFacts:
    """Facts by table. `as_of` (UTC) is the time up to which all tables contain the source's rows; later rows are not
    known yet. `known_until` is the same time for single tables: a failed model leaves its table behind the others. A
    table's version grows with each publishing that wrote it."""

    tables: Mapping[str, pl.DataFrame]
    as_of: datetime
    calendar: BusinessCalendar
    known_until: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    versions: Mapping[str, int] = field(default_factory=dict[str, int])

    def with_tables(self, more: Mapping[str, pl.DataFrame], now: datetime, version: int) -> "LiveFacts":
        """A copy with additional tables that are in no snapshot and were read at `now` (UTC). A later read must have a
        greater version."""
        return replace(
            self,
            tables={**self.tables, **more},
            known_until={**self.known_until, **dict.fromkeys(more, now)},
            versions={**self.versions, **dict.fromkeys(more, version)},
        )

    def known_until_of(self, table: str) -> datetime:
        """The time (UTC) up to which `table` contains the source's rows."""
        return self.known_until.get(table, self.as_of)


def live_facts(settings: Settings, lookback: timedelta, now: datetime) -> LiveFacts:
    """The facts at `now` (UTC) from the published snapshot. Raises SnapshotError if there is none; CalendarError."""
    calendar = read_calendar(settings.calendar_file)
    manifest = read_manifest(settings.snapshot_folder)
    with open_snapshot(settings.snapshot_folder, {*TABLES, DISCREPANCIES}, manifest=manifest) as connection:
        tables = read_facts(connection, TABLES, (now - _HISTORY).date())
        runs = _with_attempts(read_sync_runs(connection), failed_attempts(settings.attempts_folder))
        discrepancies = read_discrepancies(connection)
    builds = manifest.builds if manifest else {}
    built_from = min((build.last_synced_at for build in builds.values()), default=None)
    tables[SYNC_STATE] = sync_facts(runs, calendar, lookback, now, LIVE, discrepancies, built_from)
    known_until = {table: min(now, build.read_until) for table, build in builds.items() if table in TABLES}
    synced = [run.last_synced_at for run in runs if run.status == "succeeded" and run.last_synced_at is not None]
    as_of = min(known_until.values(), default=min(now, max(synced, default=now)))
    versions = manifest.versions if manifest else {}
    return LiveFacts(add_time_facts(tables, now, calendar), as_of, calendar, known_until, versions)


def _with_attempts(runs: Sequence[SyncRun], attempts: Iterable[FailedAttempt]) -> tuple[SyncRun, ...]:
    """`runs`, and failed syncs that are not recorded in the warehouse yet: killed, or without access to it."""
    known = {run.sync_id: run for run in runs}
    for attempt in attempts:
        run = known.get(attempt.sync_id)
        if run is None:
            known[attempt.sync_id] = attempt.run()
        elif run.status == "running":
            known[attempt.sync_id] = replace(run, status="failed", error=attempt.error)
    return tuple(known.values())


def replayed_facts(settings: Settings, lookback: timedelta, now: datetime) -> LiveFacts:
    """All published facts up to the newest sync, or to `now` (UTC) if there was none, with the registry and the sync as
    they were at each time at which they would have been evaluated.

    Raises SnapshotError if nothing has been published, and CalendarError.
    """
    calendar = read_calendar(settings.calendar_file)
    manifest = read_manifest(settings.snapshot_folder)
    with open_snapshot(settings.snapshot_folder, TABLES, manifest=manifest) as connection:
        tables = read_facts(connection, TABLES)
        runs = read_sync_runs(connection, newest=None)
    ended = [run.last_synced_at for run in runs if run.last_synced_at is not None]
    built_from = [build.read_until for table, build in manifest.builds.items() if table in TABLES] if manifest else []
    as_of = min(built_from, default=max(ended, default=now))
    # The sync is replayed below: the table read here has the newest run only.
    published = {name: table for name, table in tables.items() if name != SYNC_STATE}
    replayed: dict[str, pl.DataFrame] = add_time_facts(published, as_of, calendar)
    if REGISTRY in tables:
        replayed[REGISTRY] = registry_history(tables[REGISTRY])
    replayed[SYNC_STATE] = sync_facts_history(runs, calendar, lookback, as_of, _REPLAY_STEP, LIVE)
    replayed[SYNC_STATE] = add_new_capabilities(replayed[SYNC_STATE], tables.get(REGISTRY))
    return LiveFacts(replayed, as_of, calendar)
