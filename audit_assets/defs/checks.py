"""Asset checks: one per rule file, judged together on the published snapshot, and checks of the sync itself."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetsDefinition,
    MetadataValue,
    TableColumn,
    TableRecord,
    TableSchema,
    asset_check,
    multi_asset_check,
)
from rich.console import Console

from audit_assets.alerting.findings_report import print_findings
from audit_assets.alerting.inputs import LIVE, live_facts, load_routing
from audit_assets.alerting.ledger.store import open_episodes
from audit_assets.alerting.ledger.tables import Ledger
from audit_assets.alerting.links import Links
from audit_assets.alerting.notify import formatting
from audit_assets.alerting.notify.recorder import EvaluationRun, record_evaluation
from audit_assets.alerting.notify.transitions import Instance, instance_of
from audit_assets.defs.ingestion import RAW, SYNC_STATE
from audit_assets.defs.not_checked import not_checked
from audit_assets.defs.pipeline import pipeline_facts, run_kind
from audit_assets.defs.project import Project
from audit_assets.defs.publishing import SNAPSHOT
from audit_assets.defs.resources import AlertLedger, RunClock, WarehouseResource
from audit_assets.ingest.state_mirror import mirror_problem
from audit_assets.rules.business_clock import BusinessCalendar, is_open
from audit_assets.rules.episode import Episode, Finding
from audit_assets.rules.facts import DAGSTER_TABLES
from audit_assets.rules.judge import Failure, RuleOutcome, RuleResult, judge_all
from audit_assets.rules.load import load_rules
from audit_assets.rules.model import Rule, RuleSet
from audit_assets.rules.top_contributors import cause, contributors
from audit_assets.settings import Settings
from audit_assets.text.sanitize import CAUSE_LONGEST, escape
from audit_assets.warehouse.builds import count_rows
from audit_assets.warehouse.facts import DISCREPANCIES, latest_run
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import open_snapshot, publish, read_manifest

IDS_ARE_UNIQUE = AssetCheckKey(AssetKey(RAW), "ids_are_unique")
WORST_SHOWN = 20
_FIGURES = ("value", "baseline", "threshold", "delta_percent")
_JUST_PUBLISHED = timedelta(seconds=60)  # a snapshot this young was published by the run that judges


def rule_specs(rule_set: RuleSet) -> list[AssetCheckSpec]:
    """One check per rule file, on the asset that the rule watches. A file that does not load keeps its check, which
    fails."""
    specs: list[AssetCheckSpec] = []
    for rule_id in rule_set.ids:
        rule = rule_set.rule(rule_id)
        specs.append(
            AssetCheckSpec(
                rule_id,
                asset=rule.watch if rule and rule.watch not in DAGSTER_TABLES else SNAPSHOT,
                additional_deps=[SNAPSHOT] if rule and rule.watch not in DAGSTER_TABLES else [],
                description=rule.description if rule else "This rule file does not load.",
            )
        )
    return specs


def rule_checks(project: Project, models: AssetsDefinition) -> AssetChecksDefinition:
    """All rules as one op: they are judged on one read of the snapshot, and the changes are recorded in the ledger in
    one transaction. A failing check blocks nothing."""
    watched = watched_checks(models)

    @multi_asset_check(name="rules", specs=rule_specs(project.rules), can_subset=True)
    def rules(
        context: AssetCheckExecutionContext, clock: RunClock, warehouse: WarehouseResource, ledger: AlertLedger
    ) -> Iterator[AssetCheckResult]:
        now = clock.now()
        _publish_failures(context, project.settings.snapshot_folder, warehouse, now)
        with ledger.open() as opened:
            yield from _judge(context, project, watched, opened, now)

    return rules


def _judge(
    context: AssetCheckExecutionContext,
    project: Project,
    watched: Collection[AssetCheckKey],
    ledger: Ledger,
    now: datetime,
) -> Iterator[AssetCheckResult]:
    settings = project.settings
    rule_set = load_rules(settings.rules_folder)  # thresholds may have changed since the code location was loaded
    facts = live_facts(settings, project.policy.lookback, now)
    read_at = time.time_ns() // 1000  # Dagster's records use the system clock, whatever the run takes as now
    ended = pipeline_facts(context.instance, watched, LIVE, now, run_kind(context.run))
    facts = facts.with_tables(ended, now, read_at)
    results = judge_all(rule_set, facts.tables, facts.as_of, facts.calendar, facts.known_until)
    links = Links(
        settings.dashboard_url, settings.docs_url, settings.pagerduty_web_url or "", settings.pagerduty_service_id
    )
    record_evaluation(
        ledger,
        EvaluationRun(
            rule_set, results, facts.tables, facts.calendar, facts.as_of, now, context.run.run_id,
            settings.environment, load_routing(settings), links,
            run_url=f"{settings.dagster_url.rstrip('/')}/runs/{context.run.run_id}", known_until=facts.known_until,
            versions=facts.versions,
        ),
    )  # fmt: skip
    with ledger.transaction() as connection:
        keys = {episode.instance: episode.alert.key for episode in open_episodes(connection)}
    print_findings(Console(width=100), results, rule_set, links, now)
    selected = {key.name: key for key in context.selected_asset_check_keys}
    by_id = {result.rule_id: result for result in results}
    for rule_id, key in sorted(selected.items()):
        rule = rule_set.rule(rule_id)
        result = by_id.get(rule_id, Failure(rule_id, "the rule file was deleted; reload the code location"))
        reason = _not_judged_reason(rule, result, facts.calendar)
        if reason is not None:
            yield not_checked(reason, asset_key=key.asset_key, check_name=rule_id)
            continue
        yield AssetCheckResult(
            asset_key=key.asset_key,
            check_name=rule_id,
            passed=isinstance(result, RuleResult) and (bool(result.not_ready) or not result.episodes),
            severity=_severity(rule, result),
            description=_description(rule, result),
            metadata=_metadata(rule, result, facts.tables, settings.docs_url, keys),
        )


def watched_checks(models: AssetsDefinition) -> frozenset[AssetCheckKey]:
    """The checks whose failures page through the rule `check_failed`: all that fail as an error and are not rules. A
    check that only warns may fail in every batch, and reading all its evaluations would cost more with each batch."""
    return frozenset({*models.check_keys, IDS_ARE_UNIQUE})


def _publish_failures(
    context: AssetCheckExecutionContext, snapshot: Path, warehouse: WarehouseResource, now: datetime
) -> None:
    """Publishes the records of failed syncs, which ended before publishing. If the warehouse is locked, it publishes
    nothing, and the rules see only the age of the last success."""
    manifest = read_manifest(snapshot)
    if manifest is None or now - manifest.published_at < _JUST_PUBLISHED:
        return
    try:
        with warehouse.open(timeout_seconds=2).maintenance("publishing the state of the sync") as session:
            publish(session, snapshot, now, only=(SYNC_STATE, DISCREPANCIES))
    except WarehouseError as error:
        context.log.warning(f"judged without the latest sync failures: {error}")


def _severity(rule: Rule | None, result: RuleOutcome) -> AssetCheckSeverity:
    only_warns = rule is not None and rule.severity in ("info", "warning") and isinstance(result, RuleResult)
    return AssetCheckSeverity.WARN if only_warns else AssetCheckSeverity.ERROR


def _not_judged_reason(rule: Rule | None, result: RuleOutcome, calendar: BusinessCalendar) -> str | None:
    """Why a rule that does not fire has not passed either. None if it judged rows, or is not active now."""
    if rule is None or isinstance(result, Failure) or result.episodes or result.not_ready or result.judged:
        return None
    if not result.has_facts:
        return f"{rule.watch} has no row yet; run `audit sync`"
    if not result.unjudgeable or (
        rule.active == "business_hours" and not _in_business_hours(result.window_end, calendar)
    ):
        return None
    return (
        f"none of {result.unjudgeable} rows can be judged: a figure is unknown or the history is too short; "
        f"`audit rules explain {rule.id}` shows which"
    )


def _in_business_hours(end: datetime, calendar: BusinessCalendar) -> bool:
    return is_open(calendar, end - timedelta(microseconds=1))


def _description(rule: Rule | None, result: RuleOutcome) -> str:
    if isinstance(result, Failure):
        return result.message
    if rule is None:
        return "the rule file does not load"
    if result.not_ready:
        return f"not ready while {', '.join(result.not_ready)} fires; open alerts stay open"
    if not result.episodes and not result.judged and result.unjudgeable:
        return "not active outside business hours"
    if not result.episodes:
        return f"nothing fires in {result.judged} rows of {_window(result)}"
    episode = result.episodes[0]
    more = f"; {len(result.episodes) - 1} more" if len(result.episodes) > 1 else ""
    figures = formatting.how_much(rule, episode.latest)
    return f"{_instance(rule, episode.latest)}: {figures}, since {episode.since:%Y-%m-%d %H:%M} UTC{more}"


def _instance(rule: Rule, finding: Finding) -> str:
    name = formatting.subject(rule, finding)
    return name if finding.environment in (None, "live") else f"{name} ({escape(str(finding.environment))})"


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)


def _window(of: RuleResult | Finding) -> str:
    return formatting.window(of.window_start, of.window_end, now=of.window_end)


def _metadata(
    rule: Rule | None,
    result: RuleOutcome,
    tables: Mapping[str, pl.DataFrame],
    docs_url: str,
    keys: Mapping[Instance, str],
) -> dict[str, MetadataValue]:
    if isinstance(result, Failure) or rule is None:
        return {}
    metadata: dict[str, MetadataValue] = {
        "judged": MetadataValue.int(result.judged),
        "without_enough_data": MetadataValue.int(result.unjudgeable),
        "held_back_by_a_gate": MetadataValue.int(result.suppressed),
        "findings": MetadataValue.int(len(result.episodes)),
        "window_start": MetadataValue.timestamp(result.window_start),
        "window_end": MetadataValue.timestamp(result.window_end),
        "condition": MetadataValue.text(" or ".join(condition.fires_when for condition in rule.conditions.values())),
        "form": MetadataValue.text("literal (playbook)" if rule.is_literal else "the rule's own"),
        "routes": MetadataValue.text(", ".join(rule.routes)),
    }
    runbook = Links("", docs_url).runbook(rule.runbook)
    if runbook:
        metadata["runbook"] = MetadataValue.url(runbook) if "://" in runbook else MetadataValue.path(runbook)
    reason = cause(rule, tables)
    if reason:
        metadata["last_error"] = MetadataValue.text(escape(reason, CAUSE_LONGEST))
    if result.episodes:
        metadata["worst"] = _worst(rule, result.episodes[:WORST_SHOWN], keys)
        parts = contributors(result.findings[0], rule, tables)
        if parts:
            rows = "\n".join(f"| {escape(name)} | {value:,.0f} | {usual:,.1f} |" for name, value, usual in parts)
            metadata["top_contributors"] = MetadataValue.md(f"| capability | calls | usual |\n|---|---:|---:|\n{rows}")
    return metadata


def _worst(rule: Rule, episodes: Sequence[Episode], keys: Mapping[Instance, str]) -> MetadataValue:
    """The table of `episodes`, each with the key that the ledger, Slack and PagerDuty use: `audit alerts show KEY`."""
    texts = ("instance", "since", "window", "state", "alert")
    columns = [*(TableColumn(name) for name in texts), *(TableColumn(name, "float") for name in _FIGURES)]
    return MetadataValue.table(
        [
            TableRecord(
                {
                    "instance": _instance(rule, episode.latest),
                    "since": f"{episode.since:%Y-%m-%d %H:%M} UTC",
                    "window": _window(episode.latest),
                    "state": episode.state,
                    "alert": keys.get(instance_of(episode), "not opened: late history"),
                    **{name: _rounded(getattr(episode.latest, name)) for name in _FIGURES},
                }
            )
            for episode in episodes
        ],
        schema=TableSchema(columns),
    )


def sync_checks(settings: Settings) -> list[AssetChecksDefinition]:
    """The checks of the sync's own tables."""

    @asset_check(
        asset=SYNC_STATE,
        name="state_mirror_is_current",
        additional_deps=[SNAPSHOT],
        description="The JSON mirror of the sync state exists and is as new as the table it mirrors.",
    )
    def state_mirror_is_current() -> AssetCheckResult:
        return check_state_mirror(settings)

    @asset_check(
        asset=RAW,
        name=IDS_ARE_UNIQUE.name,
        additional_deps=[SNAPSHOT],
        description="No id occurs twice within the newest two days. The nightly repair fixes rows that moved to "
        "another day.",
    )
    def ids_are_unique(warehouse: WarehouseResource) -> AssetCheckResult:
        return check_ids(settings, warehouse)

    return [state_mirror_is_current, ids_are_unique]


def check_state_mirror(settings: Settings) -> AssetCheckResult:
    """Compares the JSON mirror with the published state of the sync."""
    with open_snapshot(settings.snapshot_folder, [SYNC_STATE]) as connection:
        run = latest_run(connection)
    if run is None:
        return not_checked("no sync has succeeded yet; run `audit sync`")
    problem = mirror_problem(settings.state_file, run)
    return AssetCheckResult(passed=problem is None, severity=AssetCheckSeverity.WARN, description=problem)


def check_ids(settings: Settings, warehouse: WarehouseResource) -> AssetCheckResult:
    """Looks for ids that occur more than once within the newest two days."""
    rows, duplicates = _duplicate_ids(settings, warehouse)
    if not rows:
        return not_checked("the newest two days have no row; run `audit sync`")
    return AssetCheckResult(
        passed=not duplicates,
        severity=AssetCheckSeverity.ERROR,
        description="; ".join(f"{escape(str(found))}: {rows} rows" for found, rows in duplicates) or None,
    )


def _duplicate_ids(settings: Settings, warehouse: WarehouseResource) -> tuple[int, list[tuple[str, int]]]:
    """The number of rows in the newest two days, and the ids that occur more than once with their number of rows. Reads
    the snapshot, or with BigQuery the warehouse, where raw rows stay."""
    if settings.engine == "bigquery":
        with (
            warehouse.open().maintenance_without_lock() as session
        ):  # no lock needed: BigQuery serves concurrent readers
            days = session.fetch(f"select date from {SCHEMA}.ai_audit_days order by date desc limit 2")
            since = min((day for (day,) in days), default=date.max)
            return count_rows(session, since), session.fetch(_duplicate_ids_sql(since))
    manifest = read_manifest(settings.snapshot_folder)
    published = [file.day for file in manifest.files[RAW] if file.day] if manifest else []
    since = (published[-2:] or [date.min])[0]
    with open_snapshot(settings.snapshot_folder, [RAW], (since, date.max)) as connection:
        ((rows,),) = connection.execute(f"select count(*) from {SCHEMA}.{RAW}").fetchall()
        return rows, connection.execute(_duplicate_ids_sql(since)).fetchall()


def _duplicate_ids_sql(day: date) -> str:
    return f"""select id, count(*) as row_count from {SCHEMA}.{RAW}
        where created_at >= timestamp '{day.isoformat()} 00:00:00'
        group by id having count(*) > 1 order by row_count desc, id limit 20"""
