"""Jobs, schedules and sensors: the continuous sync, the hourly delta, the nightly repair, the closed day, the rules,
and the delivery of alerts."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetSelection,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunConfig,
    RunRecord,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from rich.console import Console

from audit_assets.alerting.channels.senders import build_senders, build_ticket_senders
from audit_assets.alerting.delivery.acknowledgements import poll_acknowledgements
from audit_assets.alerting.delivery.deliverer import SENSOR_BUDGET, count_waiting, deliver
from audit_assets.alerting.inputs import load_routing
from audit_assets.defs.ingestion import SYNCED, SyncConfig
from audit_assets.defs.liveness import RETRIES, has_lock, reap_dead_runs
from audit_assets.defs.project import Project
from audit_assets.defs.resources import AlertLedger, PagerDutyWithLinks, PostgresSource, RunClock, SlackWithBaseUrl
from audit_assets.ingest.policy import SyncPolicy
from audit_assets.ingest.source import newest_created_at
from audit_assets.ingest.source_connection import SourceError
from audit_assets.settings import Settings, SettingsError
from audit_assets.warehouse.protocol import Mode
from audit_assets.warehouse.snapshot import read_manifest

_ACTIVE = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

# Active runs of all jobs, since each holds a lock. A killed repair or backfill would otherwise be shown as started
# forever, and never be retried.
_ACTIVE_RUNS = RunsFilter(statuses=_ACTIVE)
_JUDGED_EVERY = timedelta(seconds=60)

SYNC_JOB, MODELS_JOB, JUDGE_JOB = "audit_sync", "audit_models", "audit_judge"

EVERY_SECONDS = 15


def jobs(rule_keys: Collection[AssetCheckKey]) -> list[UnresolvedAssetJobDefinition]:
    """The jobs that build assets, and the one that only judges the rules."""
    return [
        dg.define_asset_job(
            SYNC_JOB,
            selection=AssetSelection.all(),
            description=(
                "Sync, models, snapshot, rules and the ledger's copy, in this order. Micro-batches, hourly and nightly "
                "runs and backfills use the same job; they differ only in what they read."
            ),
        ),
        dg.define_asset_job(
            MODELS_JOB,
            selection=AssetSelection.all() - AssetSelection.assets(*SYNCED),
            description=(
                "Models, snapshot, rules and the ledger's copy from the rows in the warehouse, without reading the "
                "source: for days that the source has deleted since."
            ),
            tags={"audit/mode": "models"},
        ),
        dg.define_asset_job(
            JUDGE_JOB,
            selection=AssetSelection.checks(*rule_keys),
            description="Only the rules, on the published snapshot, so that they are judged even if the sync is down.",
            tags={"audit/mode": "judge"},
        ),
    ]


def _config(mode: Mode) -> RunConfig:
    return RunConfig(ops={"sync_ai_audit_logs": SyncConfig(mode=mode)})


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def _is_batch(record: RunRecord) -> bool:
    run = record.dagster_run
    return run.job_name == SYNC_JOB and run.tags.get("audit/mode") == "delta"


def sync_sensor(project: Project, assets: Sequence[AssetKey], every_batch: Sequence[AssetCheckKey]) -> SensorDefinition:
    """The continuous sync: micro-batches of all `assets` with the checks `every_batch`."""
    cadence = project.policy.cadence

    @dg.sensor(
        job_name=SYNC_JOB,
        minimum_interval_seconds=round(cadence.poll.total_seconds()),
        default_status=DefaultSensorStatus.RUNNING,
        description="Requests a micro-batch when the source has new rows, and a heartbeat run after a while without "
        "any.",
    )
    def audit_sync_sensor(
        context: SensorEvaluationContext, clock: RunClock, source: PostgresSource
    ) -> SensorResult | SkipReason:
        now = clock.now()
        reason = _batch_reason(context, project, source, now)
        if isinstance(reason, SkipReason):
            return reason
        request = RunRequest(
            partition_key=_day(now),
            run_config=_config("delta"),
            tags={"audit/mode": "delta", "audit/reason": reason},
            asset_selection=assets,
            asset_check_keys=every_batch,
        )
        return SensorResult(run_requests=[request], cursor=now.isoformat())

    return audit_sync_sensor


def _batch_reason(
    context: SensorEvaluationContext, project: Project, source: PostgresSource, now: datetime
) -> str | SkipReason:
    """Why a micro-batch is due at `now` (UTC), or why none is."""
    settings, policy = project.settings, project.policy
    active = context.instance.get_run_records(_ACTIVE_RUNS)
    checked = [record for record in active if _is_batch(record) or has_lock(settings, record)]
    live = reap_dead_runs(context.instance, settings, checked, now)
    # Backfills and repairs do not block a micro-batch: they release the warehouse lock between days.
    if any(_is_batch(record) for record in live):
        return SkipReason("a micro-batch is queued or running")
    last = datetime.fromisoformat(context.cursor) if context.cursor else None
    if last and settings.engine == "bigquery" and now < last + policy.bigquery.every:
        return SkipReason(f"the next micro-batch may run at {last + policy.bigquery.every:%H:%M:%S} UTC: quotas")
    due = last + policy.cadence.heartbeat if last else now
    if now >= due:
        return "heartbeat"
    manifest = read_manifest(settings.snapshot_folder)
    try:
        newest = newest_created_at(source.address(), policy)
    except (SourceError, SettingsError) as error:
        return SkipReason(f"{error}; the next run is due at {due:%H:%M:%S} UTC and will record the failure")
    seen = manifest.watermark if manifest else None
    if newest is None or (seen is not None and newest <= seen):
        return SkipReason(f"no new rows at the source; the next run is due at {due:%H:%M:%S} UTC")
    return "source moved"


def judge_sensor(project: Project) -> SensorDefinition:
    """Judges the rules while batches are overdue."""
    settings, cadence = project.settings, project.policy.cadence
    # A batch is due after the heartbeat plus the sensor's interval. Beyond that it is not just waiting for its turn.
    overdue = cadence.heartbeat + cadence.poll

    @dg.sensor(
        job_name=JUDGE_JOB,
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
        description="Requests a run of the rules alone when the last successful batch is overdue, to detect stale "
        "data.",
    )
    def audit_judge_sensor(context: SensorEvaluationContext, clock: RunClock) -> SensorResult | SkipReason:
        now = clock.now()
        manifest = read_manifest(settings.snapshot_folder)
        if manifest is None:
            return SkipReason("nothing has been published yet, so there is nothing to judge")
        synced = manifest.last_synced_at or manifest.published_at
        if now - synced <= overdue:
            return SkipReason(f"the last batch ended at {synced:%H:%M:%S} UTC and judged the rules")
        if context.cursor and now - datetime.fromisoformat(context.cursor) < _JUDGED_EVERY:
            return SkipReason("the rules were judged within the last minute")
        active = RunsFilter(job_name=JUDGE_JOB, statuses=_ACTIVE)
        if reap_dead_runs(context.instance, settings, context.instance.get_run_records(active), now):
            return SkipReason("a run that judges the rules is active")
        return SensorResult(run_requests=[RunRequest()], cursor=now.isoformat())

    return audit_judge_sensor


def schedules(policy: SyncPolicy) -> list[ScheduleDefinition]:
    """The hourly delta, the nightly repair, and the day that has just ended."""

    @dg.schedule(
        job_name=SYNC_JOB,
        cron_schedule="0 * * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Hourly delta, a fallback for the continuous sync.",
    )
    def hourly_delta(context: ScheduleEvaluationContext) -> RunRequest:
        moment = context.scheduled_execution_time
        return _run_request(moment, "delta", _day(moment))

    @dg.schedule(
        job_name=SYNC_JOB,
        cron_schedule=f"0 {policy.repair.hour} * * *",
        execution_timezone=policy.repair.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        description=(
            f"Nightly full repair at {policy.repair.hour:02}:00 {policy.repair.timezone}, in summer and winter time: "
            "re-reads back to the last successful repair and records what it fixes."
        ),
    )
    def nightly_repair(context: ScheduleEvaluationContext) -> RunRequest:
        moment = context.scheduled_execution_time
        return _run_request(moment, "full", _day(moment))

    @dg.schedule(
        job_name=SYNC_JOB,
        cron_schedule="20 0 * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Materializes the UTC day that ended 20 minutes ago, so that its partition is complete.",
    )
    def closed_day(context: ScheduleEvaluationContext) -> RunRequest:
        moment = context.scheduled_execution_time
        return _run_request(moment, "days", _day(moment - timedelta(days=1)))

    return [hourly_delta, nightly_repair, closed_day]


def _run_request(moment: datetime, mode: Mode, partition: str) -> RunRequest:
    return RunRequest(
        run_key=f"{mode}-{moment.astimezone(UTC).isoformat()}",
        partition_key=partition,
        run_config=_config(mode),
        tags={"audit/mode": mode, **({} if mode == "delta" else RETRIES)},
    )


def delivery_sensor(settings: Settings) -> SensorDefinition:
    """The sensor that delivers the outbox."""

    @dg.sensor(
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Sends the deliveries in the outbox to PagerDuty, Slack and tickets, or to the console if none is "
        "configured. Then reads acknowledgements from PagerDuty if a token is set.",
    )
    def alert_deliveries(
        clock: RunClock, ledger: AlertLedger, slack: SlackWithBaseUrl, pagerduty: PagerDutyWithLinks
    ) -> SkipReason:
        now = clock.clock()
        until = now() + SENSOR_BUDGET
        routing, console, incidents = load_routing(settings), Console(width=100), pagerduty.incidents()
        senders = {
            **build_senders(slack.client(), pagerduty.client(), console),
            **build_ticket_senders(settings, console),
        }
        with ledger.open() as opened:
            counts = deliver(opened, senders, routing, now)
            read = poll_acknowledgements(opened, incidents, routing, now, until) if incidents else None
            with opened.transaction() as connection:
                left = count_waiting(connection)
        still_waiting = ", ".join(f"{number} {status}" for status, number in sorted(left.items()))
        summary = (
            f"{counts.sent} sent, {counts.retried} to retry, {counts.suppressed} held, {counts.parked} parked, "
            f"{counts.dead} given up; waiting: {still_waiting or 'none'}"
        )
        return SkipReason(f"{summary}{f'; {read.summary}' if read else ''}")

    return alert_deliveries
