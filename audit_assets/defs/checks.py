"""Asset checks: one a rule file, judged together on the published snapshot, and the sync's own promises."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    MetadataValue,
    TableColumn,
    TableRecord,
    TableSchema,
    asset_check,
    multi_asset_check,
)
from rich.console import Console

from audit_assets.alerting import wording
from audit_assets.alerting.console import print_findings
from audit_assets.alerting.links import Links
from audit_assets.alerting.live_facts import live_facts
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.record import open_episodes
from audit_assets.alerting.recording import Judged, record_judged
from audit_assets.alerting.routes import routes_of
from audit_assets.alerting.transitions import Instance, instance_of
from audit_assets.defs.ingestion import raw_logs, sync_state
from audit_assets.defs.liveness import mark_alive
from audit_assets.defs.publishing import SNAPSHOT
from audit_assets.defs.resources import Surroundings
from audit_assets.ingest.mirror import mirror_problem
from audit_assets.rules.contributors import contributors
from audit_assets.rules.episode import Episode, Finding
from audit_assets.rules.judge import Failure, Judgement, Verdict, judge_all
from audit_assets.rules.load import load_rules
from audit_assets.rules.model import Rule, RuleSet
from audit_assets.settings import read_settings
from audit_assets.warehouse.facts import latest_run
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import open_snapshot, publish, read_manifest

# The rules as they were when the code location was loaded: names and assets of checks are part of the definitions.
RULES: RuleSet = load_rules(read_settings().rules_folder)

WORST_SHOWN = 20
_JUST_PUBLISHED = timedelta(seconds=60)  # by the run that judges, then


def rule_checks(rule_set: RuleSet) -> list[AssetCheckSpec]:
    """One check a file, on the asset the rule watches; a file that does not load keeps its check, which fails."""
    specs: list[AssetCheckSpec] = []
    for rule_id in rule_set.ids:
        rule = rule_set.rule(rule_id)
        specs.append(
            AssetCheckSpec(
                rule_id,
                asset=rule.watch if rule else SNAPSHOT,
                additional_deps=[SNAPSHOT] if rule else [],
                description=rule.description if rule else "This rule file does not load.",
            )
        )
    return specs


@multi_asset_check(name="rules", specs=rule_checks(RULES), can_subset=True)
def rules(context: AssetCheckExecutionContext, surroundings: Surroundings) -> Iterator[AssetCheckResult]:
    """Judges every rule on one reading of the snapshot, and puts what changed into the ledger, in one transaction. A
    failing check blocks nothing."""
    settings, now = surroundings.settings(), datetime.now(UTC)
    mark_alive(settings, context.run.run_id)
    _publish_failures(context, surroundings, now)
    rule_set = load_rules(settings.rules_folder)
    facts = live_facts(settings, surroundings.policy().lookback, now)
    verdicts = judge_all(rule_set, facts.tables, facts.as_of, facts.calendar)
    links = Links(
        settings.dashboard_url, settings.docs_url, settings.pagerduty_web_url or "", settings.pagerduty_service_id
    )
    with surroundings.ledger() as ledger:
        record_judged(
            ledger,
            Judged(
                rule_set, verdicts, facts.tables, facts.calendar, facts.as_of, now, context.run.run_id,
                settings.environment, routes_of(settings), links,
                run_url=f"{settings.dagster_url.rstrip('/')}/runs/{context.run.run_id}",
            ),
        )  # fmt: skip
        with ledger.transaction() as connection:
            keys = {one.instance: one.told.key for one in open_episodes(connection)}
    print_findings(Console(width=100), verdicts, rule_set, links, now)
    asked = {key.name: key for key in context.selected_asset_check_keys}
    by_id = {verdict.rule_id: verdict for verdict in verdicts}
    for rule_id, key in sorted(asked.items()):
        rule = rule_set.rule(rule_id)
        verdict = by_id.get(rule_id, Failure(rule_id, "its file is gone; reload the code location"))
        yield AssetCheckResult(
            asset_key=key.asset_key,
            check_name=rule_id,
            passed=isinstance(verdict, Judgement) and (bool(verdict.not_ready) or not verdict.episodes),
            severity=_severity(rule, verdict),
            description=_sentence(rule, verdict),
            metadata=_metadata(rule, verdict, facts.tables, settings.docs_url, keys),
        )


def _publish_failures(context: AssetCheckExecutionContext, surroundings: Surroundings, now: datetime) -> None:
    """A sync that failed never came to publishing: what it left on record is published here, if the warehouse can be
    had at once. Where it cannot, the rules see how old the last success is."""
    settings = surroundings.settings()
    manifest = read_manifest(settings.snapshot_folder)
    if manifest is None or now - manifest.published_at < _JUST_PUBLISHED:
        return
    try:
        with surroundings.warehouse(timeout_seconds=2).keeper("publishing the state of the sync") as keeper:
            publish(keeper, settings.snapshot_folder, now, only=(sync_state.key.to_user_string(),))
    except WarehouseError as error:
        context.log.warning(f"judged without the newest failures of the sync: {error}")


def _severity(rule: Rule | None, verdict: Verdict) -> AssetCheckSeverity:
    gentle = rule is not None and rule.severity in ("info", "warning") and isinstance(verdict, Judgement)
    return AssetCheckSeverity.WARN if gentle else AssetCheckSeverity.ERROR


def _sentence(rule: Rule | None, verdict: Verdict) -> str:
    if isinstance(verdict, Failure):
        return verdict.message
    if rule is None:
        return "its file does not load"
    if verdict.not_ready:
        return f"not ready while {', '.join(verdict.not_ready)} fires; what was open stays open"
    if not verdict.episodes:
        return f"nothing fires in {verdict.judged} rows of {_window(verdict)}"
    episode = verdict.episodes[0]
    more = f"; {len(verdict.episodes) - 1} more" if len(verdict.episodes) > 1 else ""
    figures = wording.how_much(rule, episode.latest)
    return f"{_instance(rule, episode.latest)}: {figures}, since {episode.since:%Y-%m-%d %H:%M} UTC{more}"


def _instance(rule: Rule, finding: Finding) -> str:
    name = wording.subject(rule, finding)
    return name if finding.environment in (None, "live") else f"{name} ({shown(str(finding.environment))})"


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)


def _window(of: Judgement | Finding) -> str:
    return wording.window(of.window_start, of.window_end, now=of.window_end)


def _metadata(
    rule: Rule | None,
    verdict: Verdict,
    tables: Mapping[str, pl.DataFrame],
    docs_url: str,
    keys: Mapping[Instance, str],
) -> dict[str, MetadataValue]:
    if isinstance(verdict, Failure) or rule is None:
        return {}
    known: dict[str, MetadataValue] = {
        "judged": MetadataValue.int(verdict.judged),
        "without_enough_data": MetadataValue.int(verdict.unjudgeable),
        "held_back_by_a_gate": MetadataValue.int(verdict.held_back),
        "findings": MetadataValue.int(len(verdict.episodes)),
        "window_start": MetadataValue.timestamp(verdict.window_start),
        "window_end": MetadataValue.timestamp(verdict.window_end),
        "condition": MetadataValue.text(" or ".join(way.fires_when for way in rule.ways.values())),
        "form": MetadataValue.text("the playbook's, literally" if rule.is_literal else "the rule's own"),
        "routes": MetadataValue.text(", ".join(rule.routes)),
    }
    runbook = Links("", docs_url).runbook(rule.runbook)
    if runbook:
        known["runbook"] = MetadataValue.url(runbook) if "://" in runbook else MetadataValue.path(runbook)
    if verdict.episodes:
        known["worst"] = _worst(rule, verdict.episodes[:WORST_SHOWN], keys)
        parts = contributors(verdict.findings[0], rule, tables)
        if parts:
            listed = "\n".join(f"| {shown(name)} | {value:,.0f} | {usual:,.1f} |" for name, value, usual in parts)
            known["top_contributors"] = MetadataValue.md(f"| capability | calls | usually |\n|---|---:|---:|\n{listed}")
    return known


def _worst(rule: Rule, episodes: Sequence[Episode], keys: Mapping[Instance, str]) -> MetadataValue:
    """With the key by which the ledger, Slack and PagerDuty have the episode: `audit alerts show KEY`."""
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
                    "alert": keys.get(instance_of(episode), "not opened: history that came late"),
                    **{name: _rounded(getattr(episode.latest, name)) for name in _FIGURES},
                }
            )
            for episode in episodes
        ],
        schema=TableSchema(columns),
    )


_FIGURES = ("value", "baseline", "threshold", "delta_percent")


@asset_check(asset=sync_state.key, name="state_mirror_is_current", additional_deps=[SNAPSHOT])
def state_mirror_is_current(surroundings: Surroundings) -> AssetCheckResult:
    """The JSON mirror of the sync state is there and not behind the table it mirrors."""
    settings = surroundings.settings()
    with open_snapshot(settings.snapshot_folder, ["ai_audit_sync_state"]) as connection:
        run = latest_run(connection)
    problem = (
        mirror_problem(settings.state_file, run.sync_id, run.last_synced_at)
        if run
        else "no sync has succeeded yet: run `audit sync`"
    )
    return AssetCheckResult(passed=problem is None, severity=AssetCheckSeverity.WARN, description=problem)


@asset_check(asset=raw_logs.key, name="ids_are_unique", additional_deps=[SNAPSHOT])
def ids_are_unique(surroundings: Surroundings) -> AssetCheckResult:
    """No id is held twice within the newest two days; a row that moved to another day is mended by the repair."""
    doubled = _doubled_ids(surroundings)
    return AssetCheckResult(
        passed=not doubled,
        severity=AssetCheckSeverity.ERROR,
        description="; ".join(f"{shown(str(found))}: {rows} rows" for found, rows in doubled) or None,
    )


def _doubled_ids(surroundings: Surroundings) -> list[tuple[str, int]]:
    """Ids of the newest two days that are held twice, and how often: in the snapshot, or where raw rows stay in the
    warehouse, there."""
    settings = surroundings.settings()
    if settings.engine == "bigquery":
        with surroundings.warehouse().opened() as keeper:  # without the lock: many may ask BigQuery at once
            days = keeper.fetch(f"select date from {SCHEMA}.ai_audit_days order by date desc limit 2")
            return keeper.fetch(_doubled_since(min((day for (day,) in days), default=date.max)))
    manifest = read_manifest(settings.snapshot_folder)
    held = [file.day for file in manifest.files["ai_audit_logs"] if file.day] if manifest else []
    since = (held[-2:] or [date.min])[0]
    with open_snapshot(settings.snapshot_folder, ["ai_audit_logs"], (since, date.max)) as connection:
        return connection.execute(_doubled_since(since)).fetchall()


def _doubled_since(day: date) -> str:
    return f"""select id, count(*) as row_count from {SCHEMA}.ai_audit_logs
        where created_at >= timestamp '{day.isoformat()} 00:00:00'
        group by id having count(*) > 1 order by row_count desc, id limit 20"""


CHECKS = [rules, state_mirror_is_current, ids_are_unique]
