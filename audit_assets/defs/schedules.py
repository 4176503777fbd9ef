"""Jobs, schedules and sensors: the continuous sync, the hourly delta, the nightly repair, the closed day, the rules."""

from datetime import UTC, datetime, timedelta

from dagster import (
    AssetSelection,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunConfig,
    RunRecord,
    RunRequest,
    RunsFilter,
    ScheduleEvaluationContext,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    schedule,
    sensor,
)

from audit_assets.defs.checks import CHECKS, rules
from audit_assets.defs.ingestion import SyncConfig, sync_ai_audit_logs
from audit_assets.defs.ledger_export_assets import mirror_alert_ledger
from audit_assets.defs.liveness import RETRIES, has_lock, reap_dead_runs
from audit_assets.defs.models import models
from audit_assets.defs.partitions import POLICY
from audit_assets.defs.publishing import SNAPSHOT
from audit_assets.defs.resources import Surroundings
from audit_assets.ingest.source import newest_created_at
from audit_assets.ingest.source_connection import SourceError
from audit_assets.settings import SettingsError
from audit_assets.warehouse.protocol import Mode
from audit_assets.warehouse.snapshot import read_manifest

_ACTIVE = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

audit_sync = define_asset_job(
    "audit_sync",
    selection=AssetSelection.all(),
    description=(
        "Sync, models, snapshot, rules and the ledger's copy, in this order. Micro-batches, hourly and nightly runs "
        "and backfills use the same job; they differ only in what they read."
    ),
)

audit_models = define_asset_job(
    "audit_models",
    selection=AssetSelection.all() - AssetSelection.assets(sync_ai_audit_logs),
    description=(
        "Models, snapshot, rules and the ledger's copy from the rows in the warehouse, without reading the source: for "
        "days that the source has deleted since."
    ),
    tags={"audit/mode": "models"},
)

ALL_ASSETS = sorted([*sync_ai_audit_logs.keys, *models.keys, SNAPSHOT, *mirror_alert_ledger.keys])

# A micro-batch runs the rules and the checks of the sync. The tests of the models (3 of 11 CPU s) run with the hourly,
# nightly, daily and range runs.
EVERY_BATCH = sorted(key for check in CHECKS for key in check.check_keys)


def _config(mode: Mode) -> RunConfig:
    return RunConfig(ops={"sync_ai_audit_logs": SyncConfig(mode=mode)})


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


# Active runs of all jobs, since each holds a lock. A killed repair or backfill would otherwise be shown as started
# forever, and never be retried.
_ACTIVE_RUNS = RunsFilter(statuses=_ACTIVE)


def _is_batch(record: RunRecord) -> bool:
    run = record.dagster_run
    return run.job_name == audit_sync.name and run.tags.get("audit/mode") == "delta"


@sensor(
    job=audit_sync,
    minimum_interval_seconds=round(POLICY.cadence.poll.total_seconds()),
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests a micro-batch when the source has new rows, and a heartbeat run after a while without any.",
)
def audit_sync_sensor(context: SensorEvaluationContext, surroundings: Surroundings) -> SensorResult | SkipReason:
    now = surroundings.now()
    settings = surroundings.settings()
    active = context.instance.get_run_records(_ACTIVE_RUNS)
    checked = [record for record in active if _is_batch(record) or has_lock(settings, record)]
    live = reap_dead_runs(context.instance, settings, checked, now)
    # Backfills and repairs do not block a micro-batch: they release the warehouse lock between days.
    if any(_is_batch(record) for record in live):
        return SkipReason("a micro-batch is queued or running")
    last = datetime.fromisoformat(context.cursor) if context.cursor else None
    if last and surroundings.settings().engine == "bigquery" and now < last + POLICY.bigquery.every:
        return SkipReason(f"the next micro-batch may run at {last + POLICY.bigquery.every:%H:%M:%S} UTC: quotas")
    due = last + POLICY.cadence.heartbeat if last else now
    reason = "heartbeat"
    if now < due:
        manifest = read_manifest(surroundings.settings().snapshot_folder)
        try:
            newest = newest_created_at(surroundings.settings().source_url, surroundings.policy())
        except (SourceError, SettingsError) as error:
            return SkipReason(f"{error}; the next run is due at {due:%H:%M:%S} UTC and will record the failure")
        seen = manifest.watermark if manifest else None
        if newest is None or (seen is not None and newest <= seen):
            return SkipReason(f"no new rows at the source; the next run is due at {due:%H:%M:%S} UTC")
        reason = "source moved"
    request = RunRequest(
        partition_key=_day(now),
        run_config=_config("delta"),
        tags={"audit/mode": "delta", "audit/reason": reason},
        asset_selection=ALL_ASSETS,
        asset_check_keys=EVERY_BATCH,
    )
    return SensorResult(run_requests=[request], cursor=now.isoformat())


audit_judge = define_asset_job(
    "audit_judge",
    selection=AssetSelection.checks(*rules.check_keys),
    description="Only the rules, on the published snapshot, so that they are judged even if the sync is down.",
    tags={"audit/mode": "judge"},
)

# A batch is due after the heartbeat plus the sensor's interval. Beyond that it is not just waiting for its turn.
_OVERDUE = POLICY.cadence.heartbeat + POLICY.cadence.poll
_JUDGED_EVERY = timedelta(seconds=60)


@sensor(
    job=audit_judge,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests a run of the rules alone when the last successful batch is overdue, to detect stale data.",
)
def audit_judge_sensor(context: SensorEvaluationContext, surroundings: Surroundings) -> SensorResult | SkipReason:
    now = surroundings.now()
    manifest = read_manifest(surroundings.settings().snapshot_folder)
    if manifest is None:
        return SkipReason("nothing has been published yet, so there is nothing to judge")
    synced = manifest.last_synced_at or manifest.published_at
    if now - synced <= _OVERDUE:
        return SkipReason(f"the last batch ended at {synced:%H:%M:%S} UTC and judged the rules")
    if context.cursor and now - datetime.fromisoformat(context.cursor) < _JUDGED_EVERY:
        return SkipReason("the rules were judged within the last minute")
    active = RunsFilter(job_name=audit_judge.name, statuses=_ACTIVE)
    if reap_dead_runs(context.instance, surroundings.settings(), context.instance.get_run_records(active), now):
        return SkipReason("a run that judges the rules is active")
    return SensorResult(run_requests=[RunRequest()], cursor=now.isoformat())


def _run_request(moment: datetime, mode: Mode, partition: str) -> RunRequest:
    return RunRequest(
        run_key=f"{mode}-{moment.astimezone(UTC).isoformat()}",
        partition_key=partition,
        run_config=_config(mode),
        tags={"audit/mode": mode, **({} if mode == "delta" else RETRIES)},
    )


@schedule(
    job=audit_sync,
    cron_schedule="0 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Hourly delta, a fallback for the continuous sync.",
)
def hourly_delta(context: ScheduleEvaluationContext) -> RunRequest:
    moment = context.scheduled_execution_time
    return _run_request(moment, "delta", _day(moment))


@schedule(
    job=audit_sync,
    cron_schedule=f"0 {POLICY.repair.hour} * * *",
    execution_timezone=POLICY.repair.timezone,
    default_status=DefaultScheduleStatus.RUNNING,
    description=(
        f"Nightly full repair at {POLICY.repair.hour:02}:00 {POLICY.repair.timezone}, in summer and winter time: "
        "re-reads back to the last successful repair and records what it fixes."
    ),
)
def nightly_repair(context: ScheduleEvaluationContext) -> RunRequest:
    moment = context.scheduled_execution_time
    return _run_request(moment, "full", _day(moment))


@schedule(
    job=audit_sync,
    cron_schedule="20 0 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Materializes the UTC day that ended 20 minutes ago, so that its partition is complete.",
)
def closed_day(context: ScheduleEvaluationContext) -> RunRequest:
    moment = context.scheduled_execution_time
    return _run_request(moment, "days", _day(moment - timedelta(days=1)))


JOBS = [audit_sync, audit_models, audit_judge]
SENSORS = [audit_sync_sensor, audit_judge_sensor]
SCHEDULES = [hourly_delta, nightly_repair, closed_day]
