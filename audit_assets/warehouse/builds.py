"""How fresh the models are: the newest sync whose rows each table was built from."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from audit_assets.warehouse.protocol import MaintenanceSession
from audit_assets.warehouse.schema import SCHEMA

# Syncs that reached the present: loading days of last year does not make the models fresh.
_REACHED_THE_PRESENT = "status = 'succeeded' and (mode <> 'days' or window_end >= started_at)"

# The end of the newest sync whose rows are in every model, in SQL that both engines accept; null before the first. A
# warehouse of an earlier version has no recorded build: until the next build, the newest sync is used instead.
FACTS_SYNCED_AT = f"""
    select coalesce(
        (
            select min(coalesce(syncs.last_synced_at, builds.built_at))
            from {SCHEMA}.ai_audit_model_builds as builds
            left join {SCHEMA}.ai_audit_sync_state as syncs on builds.sync_id = syncs.sync_id
        ),
        (select max(last_synced_at) from {SCHEMA}.ai_audit_sync_state where {_REACHED_THE_PRESENT})
    ) as last_synced_at
"""


@dataclass(frozen=True)
class Build:
    """The newest build of one table (times in UTC): `last_synced_at` and `read_until` are the end and the start of the
    newest sync whose rows it contains. Everything committed at the source before `read_until` is in the table."""

    built_at: datetime
    last_synced_at: datetime
    read_until: datetime


def newest_sync(maintenance: MaintenanceSession) -> str | None:
    """The newest sync that reached the present, whose rows a build that starts now reads."""
    found = maintenance.fetch(
        f"select sync_id from {SCHEMA}.ai_audit_sync_state where {_REACHED_THE_PRESENT}"
        " order by started_at desc, sync_id desc limit 1"
    )
    return found[0][0] if found else None


@dataclass(frozen=True)
class NewestSync:
    """The newest sync that succeeded, and what it read. Times are UTC."""

    last_synced_at: datetime
    source_max_created_at: datetime | None
    watermark: datetime | None
    records_synced: int
    sync_duration_ms: int
    mode: str


def newest_successful_sync(maintenance: MaintenanceSession) -> NewestSync | None:
    """The newest sync that succeeded, of any mode; None before the first."""
    found = maintenance.fetch(
        f"""select last_synced_at, source_max_created_at, watermark, records_synced, sync_duration_ms, mode
        from {SCHEMA}.ai_audit_sync_state where status = 'succeeded'
        order by last_synced_at desc, sync_id limit 1"""
    )
    return NewestSync(*found[0]) if found else None


def facts_synced_at(maintenance: MaintenanceSession) -> datetime | None:
    """The end (UTC) of the newest sync whose rows are in every model; None before the first."""
    ((synced_at,),) = maintenance.fetch(FACTS_SYNCED_AT)
    return synced_at


def count_rows(maintenance: MaintenanceSession, first: date | None = None, last: date | None = None) -> int:
    """The number of raw rows of the UTC days from `first` to `last`; of all days without them."""
    start = first or date(1900, 1, 1)  # BigQuery refuses a query without a bound on created_at
    bounds = f"created_at >= timestamp '{start.isoformat()} 00:00:00'"
    if last is not None:
        bounds += f" and created_at < timestamp '{(last + timedelta(days=1)).isoformat()} 00:00:00'"
    ((rows,),) = maintenance.fetch(f"select count(*) from {SCHEMA}.ai_audit_logs where {bounds}")
    return rows


def were_loaded(maintenance: MaintenanceSession, first: date, last: date) -> bool:
    """Whether any UTC day from `first` to `last` ever had a row, also if its rows were deleted since."""
    days = f"date between date '{first.isoformat()}' and date '{last.isoformat()}'"
    ((number,),) = maintenance.fetch(f"select count(*) from {SCHEMA}.ai_audit_days where loads > 0 and {days}")
    return number > 0


def read_builds(maintenance: MaintenanceSession) -> dict[str, Build]:
    """Table → its newest build."""
    found = maintenance.fetch(
        f"""select
            builds.table_name, builds.built_at,
            coalesce(syncs.last_synced_at, builds.built_at), coalesce(syncs.started_at, builds.built_at)
        from {SCHEMA}.ai_audit_model_builds as builds
        left join {SCHEMA}.ai_audit_sync_state as syncs on builds.sync_id = syncs.sync_id"""
    )
    return {table: Build(*times) for table, *times in found}
