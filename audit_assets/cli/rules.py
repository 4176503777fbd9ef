"""`audit rules`: check, list, test, explain and backtest the rule files."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.inputs import live_facts
from audit_assets.cli.backtest import backtest
from audit_assets.cli.clock import now_utc
from audit_assets.cli.output import FAILED, AsJson, err, format_value, out, print_json
from audit_assets.config.validation import did_you_mean
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.rules.explain import InstanceExplanation, explain_rule
from audit_assets.rules.facts import DAGSTER_TABLES
from audit_assets.rules.load import (
    NO_RULE_FILES,
    RuleSummary,
    check_rule_files,
    list_rules,
    load_rules,
    rule_schema,
    run_examples,
)
from audit_assets.rules.model import Rule
from audit_assets.rules.routing import read_routing
from audit_assets.settings import PROJECT_ROOT, read_settings
from audit_assets.text.sanitize import escape

RUNBOOK = PROJECT_ROOT / "docs" / "INGESTION_WORKFLOW.md"

rules_app = typer.Typer(help="The alert rules, one YAML file each.", no_args_is_help=True)
rules_app.command("backtest")(backtest)


@rules_app.command("check")
def check(as_json: AsJson = False) -> None:
    """Load every rule file, run its examples, and check its routes and runbook. Exits 1 if there is a problem."""
    settings = read_settings()
    routing = read_routing(settings.routing_file)
    report = check_rule_files(settings.rules_folder, routing, RUNBOOK if RUNBOOK.exists() else None)
    if not RUNBOOK.exists():
        err.print(f"{RUNBOOK.name} is missing: runbook sections are not checked")
    if as_json:
        print_json({"files": report.files, "examples": report.examples, "problems": [str(p) for p in report.problems]})
    else:
        for problem in report.problems:
            out.print(str(problem), markup=False, soft_wrap=True)
        passed = "no problems" if RUNBOOK.exists() else "no problem in what was checked"
        summary = passed if report.ok else f"{len(report.problems)} problems"
        err.print(f"{report.files} rule files, {report.examples} examples: {summary}")
    if not report.ok:
        raise typer.Exit(FAILED)


@rules_app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the rule files: severity, routes, alerts per week in the backtest, and condition."""
    folder = read_settings().rules_folder
    lines = list_rules(folder)
    if as_json:
        print_json({"rules": [asdict(line) for line in lines]})
    elif lines:
        _print_rules(lines)
    if not lines:
        err.print(f"{folder} {NO_RULE_FILES}", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED)


def _print_rules(lines: Sequence[RuleSummary]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("rule", "severity", "routes", "per week", "fires when"):
        table.add_column(heading, justify="right" if heading == "per week" else "left", overflow="fold")
    for line in lines:
        if line.problem:
            table.add_row(line.id, "does not load", "", "", Text(line.problem))
            continue
        often = "" if line.alerts_a_week is None else f"{line.alerts_a_week:.2f}"
        table.add_row(line.id, line.severity, line.routes, often, Text(line.fires_when))
    out.print(table)
    err.print("per week: alerts per week and instance over the data named in the rule's file")


@rules_app.command("test")
def run_all_examples(
    ids: Annotated[list[str] | None, typer.Argument(help="Rules to test. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the examples of the rule files, for the rule's own and its literal condition, one line each. Exits 1 if an
    example fails, a file does not load, or there is no example."""
    runs = [run for rule in _chosen(ids) for run in run_examples(rule)]
    folder = read_settings().rules_folder
    not_run = () if ids else load_rules(folder).broken
    if as_json:
        print_json({
            "examples": [asdict(run) | {"passed": run.passed} for run in runs],
            "not_run": [{"id": broken.id, "problem": broken.message} for broken in not_run],
        })  # fmt: skip
    else:
        for run in runs:
            mark = Text("ok  ", "green") if run.passed else Text("FAIL", "bold red")
            form = " (literal)" if run.form else ""
            expected = "fires" if run.expected else "does not fire"
            row = ", ".join(f"{name}={value}" for name, value in run.row.items())
            out.print(Text.assemble(mark, f" {run.rule_id}{form} {expected}: ", (row, "dim")), soft_wrap=True)
        failed = sum(not run.passed for run in runs)
        for broken in not_run:
            out.print(f"not run: {broken.message}", markup=False, soft_wrap=True)
        err.print(f"{len(runs)} examples, {failed} failed")
        if not runs and not not_run:
            err.print(f"{folder} {NO_RULE_FILES}", markup=False, soft_wrap=True)
    if not runs or not_run or any(not run.passed for run in runs):
        raise typer.Exit(FAILED)


@rules_app.command("explain")
def explain(rule_id: Annotated[str, typer.Argument(metavar="ID", help="A rule.")], as_json: AsJson = False) -> None:
    """Explain why a rule fires or does not fire on the newest window of each instance: figures, gates, steps."""
    (rule,) = _chosen([rule_id])
    settings = read_settings()
    now = now_utc()
    facts = live_facts(settings, read_policy(settings.policy_file).lookback, now)
    if rule.watch in DAGSTER_TABLES:
        from audit_assets.defs.runner import with_pipeline_facts  # imports Dagster, which takes seconds

        facts = with_pipeline_facts(settings, facts, now)
    if rule.watch not in facts.tables:
        raise WindowError(f"{rule.watch} is not published yet; run `audit build`")
    as_of = facts.known_until_of(rule.watch)
    rows = explain_rule(rule, facts.tables[rule.watch], as_of, facts.calendar)
    if as_json:
        print_json({"rule": rule.id, "as_of": as_of, "instances": [asdict(row) for row in rows]})
        return
    out.print(f"[bold]{rule.id}[/] {'(literal condition)' if rule.is_literal else ''}", highlight=False)
    out.print(rule.description, markup=False)
    for name, condition in rule.conditions.items():
        out.print(f"{'or when' if name else 'fires when':<12}{condition.fires_when}", markup=False)
    for name, text in rule.gates.items() if not rule.is_literal else ():
        out.print(f"gate        {name}: {text}", markup=False)
    fires_in, of = rule.for_clause.fires_in, rule.for_clause.of
    out.print(f"opens       when {fires_in} of the last {of} steps fire" if of > 1 else "opens       at once")
    out.print(f"data up to {format_value(as_of)}\n")
    out.print(_explained_table(rows))


@rules_app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of rule files. `make format` writes it next to the files, for completion in editors."""
    out.file.write(rule_schema())


def _explained_table(rows: tuple[InstanceExplanation, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("instance", "window (UTC)", "value", "usual", "limit", "last steps", "why"):
        table.add_column(heading, justify="right" if heading in ("value", "usual", "limit") else "left")
    for row in rows:
        figures = ("" if figure is None else f"{figure:,.4g}" for figure in (row.value, row.baseline, row.threshold))
        window = f"{row.window_start:%m-%d %H:%M} to {row.window_end:%H:%M}"
        steps = "".join({True: "●", False: "·", None: "?"}[fired] for fired in row.recent)
        table.add_row(Text(", ".join(map(escape, row.instance)) or "all"), window, *figures, steps, Text(row.why))
    return table


def _chosen(ids: list[str] | None) -> list[Rule]:
    """The rules with these ids; without ids, all rules that load. Raises WindowError if a rule is unknown or does not
    load."""
    rule_set = load_rules(read_settings().rules_folder)
    if not ids:
        return list(rule_set.rules)
    chosen: list[Rule] = []
    for name in ids:
        rule = rule_set.rule(name)
        if rule is None:
            broken = next((other.message for other in rule_set.broken if other.id == name), None)
            raise WindowError(broken or f"{name}: no such rule{did_you_mean(name, rule_set.ids)}")
        chosen.append(rule)
    return chosen
