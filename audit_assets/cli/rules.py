"""`audit rules`: the rule files, and what they say of the rows that are there."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.live_facts import live_facts
from audit_assets.alerting.outside_text import shown
from audit_assets.cli.backtesting import backtest
from audit_assets.cli.screen import FAILED, AsJson, err, out, print_json, told
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.rules.check_files import check_rule_files, list_rules, run_examples
from audit_assets.rules.explain import Explained, explained
from audit_assets.rules.load import load_rules
from audit_assets.rules.model import Rule
from audit_assets.rules.routing import read_routing
from audit_assets.rules.schema import rule_schema
from audit_assets.rules.spelling import did_you_mean
from audit_assets.settings import PROJECT_ROOT, read_settings

RUNBOOK = PROJECT_ROOT / "docs" / "INGESTION_WORKFLOW.md"

rules_app = typer.Typer(help="The alert rules, one YAML file each.", no_args_is_help=True)
rules_app.command("backtest")(backtest)


@rules_app.command("check")
def check(as_json: AsJson = False) -> None:
    """Load every rule file, run its examples, find its routes and its runbook. Exits 1 where anything is wrong."""
    settings = read_settings()
    routing = read_routing(settings.routing_file)
    report = check_rule_files(settings.rules_folder, routing, RUNBOOK if RUNBOOK.exists() else None)
    if not RUNBOOK.exists():
        err.print(f"{RUNBOOK.name} is not there: runbook sections are not checked")
    if as_json:
        print_json({"files": report.files, "examples": report.examples, "problems": [str(p) for p in report.problems]})
    else:
        for problem in report.problems:
            out.print(str(problem), markup=False, soft_wrap=True)
        said = "all well" if report.ok else f"{len(report.problems)} problems"
        err.print(f"{report.files} rule files, {report.examples} examples: {said}")
    if not report.ok:
        raise typer.Exit(FAILED)


@rules_app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Every rule file: how serious it is, whom it tells, how often it would have, when it fires."""
    lines = list_rules(read_settings().rules_folder)
    if as_json:
        print_json({"rules": [asdict(line) for line in lines]})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("rule", "severity", "routes", "a week", "fires when"):
        table.add_column(heading, justify="right" if heading == "a week" else "left", overflow="fold")
    for line in lines:
        if line.problem:
            table.add_row(line.id, "does not load", "", "", Text(line.problem))
            continue
        often = "" if line.alerts_a_week is None else f"{line.alerts_a_week:.2f}"
        table.add_row(line.id, line.severity, line.routes, often, Text(line.fires_when))
    out.print(table)
    err.print("a week: alerts a week and instance over the data named in the rule's file")


@rules_app.command("test")
def run_all_examples(
    ids: Annotated[list[str] | None, typer.Argument(help="Rules to test. Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the examples of the rule files, of both forms, one line each. Exits 1 where a rule does otherwise."""
    runs = [run for rule in _chosen(ids) for run in run_examples(rule)]
    if as_json:
        print_json({"examples": [asdict(run) | {"passed": run.passed} for run in runs]})
    else:
        for run in runs:
            mark = Text("ok  ", "green") if run.passed else Text("FAIL", "bold red")
            form = " (literal)" if run.form else ""
            expected = "fires" if run.expected else "does not fire"
            row = ", ".join(f"{name}={value}" for name, value in run.row.items())
            out.print(Text.assemble(mark, f" {run.rule_id}{form} {expected}: ", (row, "dim")), soft_wrap=True)
        failed = sum(not run.passed for run in runs)
        err.print(f"{len(runs)} examples, {failed} not as their file says")
    if any(not run.passed for run in runs):
        raise typer.Exit(FAILED)


@rules_app.command("explain")
def explain(rule_id: Annotated[str, typer.Argument(metavar="ID", help="A rule.")], as_json: AsJson = False) -> None:
    """Why a rule fires, or does not, on the newest window of each instance: figures, gates, steps."""
    (rule,) = _chosen([rule_id])
    settings = read_settings()
    facts = live_facts(settings, read_policy(settings.policy_file).lookback, datetime.now(UTC))
    if rule.watch not in facts.tables:
        raise WindowError(f"{rule.watch} is not published yet; run `audit build`")
    rows = explained(rule, facts.tables[rule.watch], facts.as_of, facts.calendar)
    if as_json:
        print_json({"rule": rule.id, "as_of": facts.as_of, "instances": [asdict(row) for row in rows]})
        return
    out.print(f"[bold]{rule.id}[/] {'(the literal form)' if rule.is_literal else ''}", highlight=False)
    out.print(rule.description, markup=False)
    for name, way in rule.ways.items():
        out.print(f"{'or when' if name else 'fires when':<12}{way.fires_when}", markup=False)
    for name, text in rule.gates.items() if not rule.is_literal else ():
        out.print(f"gate        {name}: {text}", markup=False)
    fires_in, of = rule.terms.fires_in, rule.terms.of
    out.print(f"opens       when {fires_in} of the last {of} steps fire" if of > 1 else "opens       at once")
    out.print(f"known up to {told(facts.as_of)}\n")
    out.print(_explained_table(rows))


@rules_app.command("schema")
def print_schema() -> None:
    """The JSON Schema of a rule file. `make format` writes it beside the files, for editors to complete them by."""
    out.file.write(rule_schema())


def _explained_table(rows: tuple[Explained, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("instance", "window (UTC)", "value", "usual", "limit", "last steps", "why"):
        table.add_column(heading, justify="right" if heading in ("value", "usual", "limit") else "left")
    for row in rows:
        figures = ("" if figure is None else f"{figure:,.4g}" for figure in (row.value, row.baseline, row.threshold))
        window = f"{row.window_start:%m-%d %H:%M} to {row.window_end:%H:%M}"
        steps = "".join({True: "●", False: "·", None: "?"}[fired] for fired in row.recent)
        table.add_row(Text(", ".join(map(shown, row.instance)) or "all"), window, *figures, steps, Text(row.why))
    return table


def _chosen(ids: list[str] | None) -> list[Rule]:
    """The rules of these ids, all that load without any. Raises WindowError on an id that is none, or does not load."""
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
