"""The state of the pipeline's own checks and runs, read from Dagster's storage, as facts for the rules.

The records are read at each judgement, so that the next run sees every evaluation and every ended run, even if
processes were killed in between.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

import polars as pl
from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    EventLogEntry,
    RunRecord,
    RunsFilter,
)
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
from dagster_shared.serdes import deserialize_value
from sqlalchemy import ColumnElement, Table, select

from audit_assets.defs.not_checked import was_checked
from audit_assets.rules.pipeline_facts import CheckResult, RunResult, check_facts, run_facts

_LOOKBACK = timedelta(days=30)  # older failures are ignored
_RUNS = 200  # the number of failed runs that are read, newest first
_SYNC_STEP = "sync_ai_audit_logs"
_RETRIED_WITHIN = timedelta(minutes=5)  # the daemon polls every few seconds; if it is down, nothing is retried


def pipeline_facts(
    instance: DagsterInstance, checks: Collection[AssetCheckKey], environment: str, now: datetime, running: str | None
) -> dict[str, pl.DataFrame]:
    """Rows by table at `now` (UTC) for `environment`: assets with failing checks among `checks`, and kinds of runs that
    failed. `running` is the kind of the calling run, whose steps up to the rules have succeeded; None outside a run."""
    since = datetime.now(UTC) - _LOOKBACK  # Dagster's records use the system clock
    results = _check_results(instance, checks, since)
    return {
        "asset_checks": check_facts(results, now, environment),
        "pipeline_runs": run_facts(_failed_runs(instance, since, running), now, environment),
    }


def run_kind(run: DagsterRun) -> str | None:
    """The job and mode of a run, such as `audit_sync delta`; None for a run that was launched by hand."""
    mode = run.tags.get("audit/mode")
    return f"{run.job_name} {mode}" if mode else None


def _check_results(
    instance: DagsterInstance, checks: Collection[AssetCheckKey], since: datetime
) -> Iterator[CheckResult]:
    """The evaluations since `since` of the checks that failed at least once since then, in order. Checks that never
    failed are not read."""
    storage, table = instance.event_log_storage, AssetCheckExecutionsTable
    if not isinstance(storage, SqlEventLogStorage):
        return
    declared = {(key.asset_key.to_string(), key.name) for key in checks}
    evaluated = table.c.evaluation_event_timestamp >= since.replace(tzinfo=None)
    columns = select(table.c.asset_key, table.c.check_name, table.c.run_id, table.c.evaluation_event)
    with storage.index_connection() as connection:
        failed = connection.execute(
            select(table.c.asset_key, table.c.check_name)
            .where(table.c.execution_status == "FAILED", evaluated, _is_error(table)).distinct()
        ).all()  # fmt: skip
        names = {tuple(row) for row in failed} & declared
        rows = connection.execute(
            columns.where(
                table.c.check_name.in_([name for _, name in names]),
                table.c.execution_status.in_(["FAILED", "SUCCEEDED"]), evaluated,
            ).order_by(table.c.evaluation_event_storage_id)
        ).all()  # fmt: skip
    for asset, name, run_id, event in rows:
        if (asset, name) not in names:
            continue
        entry = deserialize_value(event, EventLogEntry)
        found = entry.dagster_event.event_specific_data if entry.dagster_event else None
        if not isinstance(found, AssetCheckEvaluation):
            continue
        key = AssetKey.from_db_string(asset)
        yield CheckResult(
            asset=key.to_user_string() if key else asset, check=name, run_id=run_id,
            at=datetime.fromtimestamp(entry.timestamp, UTC), passed=found.passed,
            is_error=found.severity == AssetCheckSeverity.ERROR, days=_days(found), failed_rows=_failed_rows(found),
            was_checked=was_checked(found.metadata),
        )  # fmt: skip


def _is_error(table: Table) -> ColumnElement[bool]:
    """Matches failures of severity ERROR by the event's text. Reading every warning would cost more with each batch."""
    return table.c.evaluation_event.like("%AssetCheckSeverity.ERROR%")


def _days(evaluation: AssetCheckEvaluation) -> frozenset[date | None]:
    """The UTC days that were checked; None stands for the whole table."""
    built = evaluation.metadata.get("built_days")
    texts = built.value if built is not None and isinstance(built.value, list) else []
    return frozenset(date.fromisoformat(str(text)) for text in texts) or frozenset({None})


def _failed_rows(evaluation: AssetCheckEvaluation) -> int:
    counted = evaluation.metadata.get("dagster_dbt/failed_row_count")
    return int(counted.value) if counted is not None and isinstance(counted.value, int | float) else 0


def _failed_runs(instance: DagsterInstance, since: datetime, running: str | None) -> Iterable[RunResult]:
    """Runs that failed after the sync step, without a later success of their kind. A failed sync has its own rule."""
    failed = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.FAILURE], created_after=since), limit=_RUNS)
    last_success: dict[str, datetime] = {}
    for record in failed:
        run, kind = record.dagster_run, run_kind(record.dagster_run)
        if kind is None or kind == running:
            continue
        if kind not in last_success:
            same_kind = RunsFilter(
                job_name=run.job_name, tags={"audit/mode": run.tags["audit/mode"]}, statuses=[DagsterRunStatus.SUCCESS]
            )
            found = instance.get_run_records(same_kind, limit=1)
            last_success[kind] = found[0].create_timestamp if found else datetime.min.replace(tzinfo=UTC)
        if record.create_timestamp <= last_success[kind] or _is_retried(instance, record):
            continue
        started, succeeded, steps = (
            [entry.step_key for entry in instance.all_logs(run.run_id, of_type=event) if entry.step_key]
            for event in (DagsterEventType.STEP_START, DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE)
        )
        was_killed_in_sync = not steps and _SYNC_STEP in set(started) - set(succeeded)
        if steps == [_SYNC_STEP] or was_killed_in_sync:
            continue
        yield RunResult(kind, run.run_id, _ended(record), steps[0] if steps else "")


def _ended(record: RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp


def _is_retried(instance: DagsterInstance, record: RunRecord) -> bool:
    """Whether Dagster has retried the run or is about to. The retry then counts in its place."""
    tags = record.dagster_run.tags
    if tags.get(WILL_RETRY_TAG) != "true":
        return False
    if AUTO_RETRY_RUN_ID_TAG not in tags:
        return datetime.now(UTC) - _ended(record) <= _RETRIED_WITHIN
    retry = instance.get_run_by_id(tags[AUTO_RETRY_RUN_ID_TAG])
    return retry is not None and retry.status != DagsterRunStatus.CANCELED
