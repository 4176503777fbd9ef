"""Asset checks: one a rule file, judged together on the published snapshot, and the sync's own promises."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

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

from audit_assets.alerting.console import print_findings
from audit_assets.alerting.links import Links
from audit_assets.alerting.outside_text import shown
from audit_assets.defs.ingestion import raw_logs, sync_state
from audit_assets.defs.publishing import SNAPSHOT
from audit_assets.defs.resources import Surroundings
from audit_assets.ingest.mirror import mirror_problem
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import Failure, Finding, Judgement, Verdict, judge_all
from audit_assets.rules.load import load_rules
from audit_assets.rules.model import Rule, RuleSet
from audit_assets.settings import read_settings
from audit_assets.warehouse.facts import latest_run, read_facts
from audit_assets.warehouse.schema import SCHEMA
from audit_assets.warehouse.snapshot import open_snapshot, read_manifest

# The rules as they were when the code location was loaded: names and assets of checks are part of the definitions.
RULES: RuleSet = load_rules(read_settings().rules_folder)

WORST_SHOWN = 20


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
    """Judges every rule on one reading of the snapshot. A failing check blocks nothing."""
    settings, now = surroundings.settings(), datetime.now(UTC)
    rule_set = load_rules(settings.rules_folder)
    with open_snapshot(settings.snapshot_folder, TABLES) as connection:
        facts = read_facts(connection, now)
    verdicts = judge_all(rule_set, facts, now)
    print_findings(Console(width=100), verdicts, rule_set, Links(settings.dashboard_url, settings.docs_url), now)
    asked = {key.name: key for key in context.selected_asset_check_keys}
    by_id = {verdict.rule_id: verdict for verdict in verdicts}
    for rule_id, key in sorted(asked.items()):
        verdict = by_id.get(rule_id, Failure(rule_id, "its file is gone; reload the code location"))
        yield AssetCheckResult(
            asset_key=key.asset_key,
            check_name=rule_id,
            passed=isinstance(verdict, Judgement) and not verdict.findings,
            severity=_severity(rule_set.rule(rule_id), verdict),
            description=_sentence(verdict),
            metadata=_metadata(rule_set.rule(rule_id), verdict, settings.docs_url),
        )


def _severity(rule: Rule | None, verdict: Verdict) -> AssetCheckSeverity:
    gentle = rule is not None and rule.severity in ("info", "warning") and isinstance(verdict, Judgement)
    return AssetCheckSeverity.WARN if gentle else AssetCheckSeverity.ERROR


def _sentence(verdict: Verdict) -> str:
    if isinstance(verdict, Failure):
        return verdict.message
    if not verdict.findings:
        return f"nothing fires in {verdict.judged} rows of {_window(verdict)}"
    worst = verdict.findings[0]
    value = "" if worst.value is None else f": {worst.value:.4g}"
    usual = "" if worst.baseline is None else f", usually {worst.baseline:.4g}"
    more = f"; {len(verdict.findings) - 1} more" if len(verdict.findings) > 1 else ""
    return f"{_instance(worst)}{value}{usual}, {_window(worst)}{more}"


def _instance(finding: Finding) -> str:
    return ", ".join(shown(value) for _, value in finding.dimensions)


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)


def _window(of: Judgement | Finding) -> str:
    return f"{of.window_start:%Y-%m-%d %H:%M} to {of.window_end:%Y-%m-%d %H:%M} UTC"


def _metadata(rule: Rule | None, verdict: Verdict, docs_url: str) -> dict[str, MetadataValue]:
    if isinstance(verdict, Failure) or rule is None:
        return {}
    known: dict[str, MetadataValue] = {
        "judged": MetadataValue.int(verdict.judged),
        "without_enough_data": MetadataValue.int(verdict.unjudgeable),
        "findings": MetadataValue.int(len(verdict.findings)),
        "window_start": MetadataValue.timestamp(verdict.window_start),
        "window_end": MetadataValue.timestamp(verdict.window_end),
        "condition": MetadataValue.text(rule.fires_when),
    }
    runbook = Links("", docs_url).runbook(rule.runbook)
    if runbook:
        known["runbook"] = MetadataValue.url(runbook) if "://" in runbook else MetadataValue.path(runbook)
    if verdict.findings:
        columns = [TableColumn("instance"), TableColumn("window"), *(TableColumn(name, "float") for name in _FIGURES)]
        known["worst"] = MetadataValue.table(
            [
                TableRecord(
                    {
                        "instance": _instance(finding),
                        "window": _window(finding),
                        **{name: _rounded(getattr(finding, name)) for name in _FIGURES},
                    }
                )
                for finding in verdict.findings[:WORST_SHOWN]
            ],
            schema=TableSchema(columns),
        )
    return known


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
    settings = surroundings.settings()
    manifest = read_manifest(settings.snapshot_folder)
    days = [file.day for file in manifest.files["ai_audit_logs"] if file.day] if manifest else []
    since = (days[-2:] or [date.min])[0]
    with open_snapshot(settings.snapshot_folder, ["ai_audit_logs"]) as connection:
        doubled = connection.execute(
            f"""select id, count(*) as rows from {SCHEMA}.ai_audit_logs where date >= ?
            group by id having count(*) > 1 order by rows desc, id limit 20""",
            [since],
        ).fetchall()
    return AssetCheckResult(
        passed=not doubled,
        severity=AssetCheckSeverity.ERROR,
        description="; ".join(f"{shown(str(found))}: {rows} rows" for found, rows in doubled) or None,
    )


CHECKS = [rules, state_mirror_is_current, ids_are_unique]
