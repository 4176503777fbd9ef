"""When things run: the continuous sync with its sensor, the hourly and nightly safety nets, the closed day, upkeep."""

from datetime import UTC, datetime, timedelta

from dagster import (
    AssetSelection,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunConfig,
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
from audit_assets.defs.ledger_copy import mirror_alert_ledger
from audit_assets.defs.liveness import bury
from audit_assets.defs.models import models
from audit_assets.defs.partitions import POLICY
from audit_assets.defs.publishing import SNAPSHOT
from audit_assets.defs.resources import Surroundings
from audit_assets.ingest.source import newest_created_at
from audit_assets.ingest.source_error import SourceError
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
        "Sync, models, snapshot, rules and the ledger's copy, in this order. One job: micro-batches, hourly, nightly "
        "and backfills differ in what they read only."
    ),
)


ALL_ASSETS = sorted([*sync_ai_audit_logs.keys, *models.keys, SNAPSHOT, *mirror_alert_ledger.keys])

# A micro-batch judges the rules and its own bookkeeping. The tests of the models (3 CPU s of 11) run with the hourly,
# nightly, daily and range runs.
EVERY_BATCH = sorted(key for check in CHECKS for key in check.check_keys)


def _config(mode: Mode) -> RunConfig:
    return RunConfig(ops={"sync_ai_audit_logs": SyncConfig(mode=mode)})


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


@sensor(
    job=audit_sync,
    minimum_interval_seconds=round(POLICY.cadence.poll.total_seconds()),
    default_status=DefaultSensorStatus.RUNNING,
    description="Asks the source whether anything moved and requests a micro-batch; a heartbeat run where nothing did.",
)
def audit_sync_sensor(context: SensorEvaluationContext, surroundings: Surroundings) -> SensorResult | SkipReason:
    now = datetime.now(UTC)
    # Backfills and repairs do not hold a micro-batch up: they let go of the warehouse between days.
    batches = RunsFilter(job_name=audit_sync.name, statuses=_ACTIVE, tags={"audit/mode": "delta"})
    if bury(context.instance, surroundings.settings(), context.instance.get_run_records(batches), now):
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
            return SkipReason(f"{error}; the next run is due at {due:%H:%M:%S} UTC and will put the failure on record")
        seen = manifest.watermark if manifest else None
        if newest is None or (seen is not None and newest <= seen):
            return SkipReason(f"nothing moved at the source; the next run is due at {due:%H:%M:%S} UTC")
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
    description="The rules alone, on what is published: they are asked also where the sync is dead.",
    tags={"audit/mode": "judge"},
)

# A batch is due after the heartbeat and the sensor's pace; whoever is later than this is not only waiting its turn.
_OVERDUE = POLICY.cadence.heartbeat + POLICY.cadence.poll
_JUDGED_EVERY = timedelta(seconds=60)


@sensor(
    job=audit_judge,
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Where no batch has succeeded for its time, asks for the rules alone: so staleness is seen.",
)
def audit_judge_sensor(context: SensorEvaluationContext, surroundings: Surroundings) -> SensorResult | SkipReason:
    now = datetime.now(UTC)
    manifest = read_manifest(surroundings.settings().snapshot_folder)
    if manifest is None:
        return SkipReason("nothing has been published yet, so there is nothing to judge")
    synced = manifest.last_synced_at or manifest.published_at
    if now - synced <= _OVERDUE:
        return SkipReason(f"the last batch ended at {synced:%H:%M:%S} UTC, and judged")
    if context.cursor and now - datetime.fromisoformat(context.cursor) < _JUDGED_EVERY:
        return SkipReason("judged within the minute")
    active = RunsFilter(job_name=audit_judge.name, statuses=_ACTIVE)
    if bury(context.instance, surroundings.settings(), context.instance.get_run_records(active), now):
        return SkipReason("the rules are being judged")
    return SensorResult(run_requests=[RunRequest()], cursor=now.isoformat())


def _requested(moment: datetime, mode: Mode, partition: str) -> RunRequest:
    return RunRequest(
        run_key=f"{mode}-{moment.astimezone(UTC).isoformat()}",
        partition_key=partition,
        run_config=_config(mode),
        tags={"audit/mode": mode},
    )


@schedule(
    job=audit_sync,
    cron_schedule="0 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Hourly delta: the safety net under the continuous sync.",
)
def hourly_delta(context: ScheduleEvaluationContext) -> RunRequest:
    moment = context.scheduled_execution_time
    return _requested(moment, "delta", _day(moment))


@schedule(
    job=audit_sync,
    cron_schedule=f"0 {POLICY.repair.hour} * * *",
    execution_timezone=POLICY.repair.timezone,
    default_status=DefaultScheduleStatus.RUNNING,
    description=(
        f"Nightly full repair at {POLICY.repair.hour:02}:00 {POLICY.repair.timezone}, summer and winter: re-reads back "
        "to the last good repair and records what it mends."
    ),
)
def nightly_repair(context: ScheduleEvaluationContext) -> RunRequest:
    moment = context.scheduled_execution_time
    return _requested(moment, "full", _day(moment))


@schedule(
    job=audit_sync,
    cron_schedule="20 0 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Materialises the UTC day that closed 20 minutes ago, so that its partition is complete.",
)
def closed_day(context: ScheduleEvaluationContext) -> RunRequest:
    moment = context.scheduled_execution_time
    return _requested(moment, "days", _day(moment - timedelta(days=1)))


JOBS = [audit_sync, audit_judge]
SENSORS = [audit_sync_sensor, audit_judge_sensor]
SCHEDULES = [hourly_delta, nightly_repair, closed_day]
