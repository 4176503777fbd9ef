"""`audit rules`: the rule files."""

from dataclasses import asdict

import typer
from rich.table import Table

from audit_assets.cli.screen import FAILED, AsJson, err, out, print_json
from audit_assets.rules.check_files import check_rule_files, list_rules
from audit_assets.settings import PROJECT_ROOT, read_settings

RUNBOOK = PROJECT_ROOT / "docs" / "INGESTION_WORKFLOW.md"

rules_app = typer.Typer(help="The alert rules, one YAML file each.", no_args_is_help=True)


@rules_app.command("check")
def check(as_json: AsJson = False) -> None:
    """Load every rule file, run its examples, find its runbook section. Exits 1 where anything is wrong."""
    report = check_rule_files(read_settings().rules_folder, RUNBOOK if RUNBOOK.exists() else None)
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
    """Every rule file: what it watches, when it fires, how serious that is."""
    lines = list_rules(read_settings().rules_folder)
    if as_json:
        print_json({"rules": [asdict(line) for line in lines]})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("rule", "severity", "watches", "fires when"):
        table.add_column(heading)
    for line in lines:
        cells = (line.id, line.severity, line.watch) if not line.problem else (line.id, "does not load", line.problem)
        table.add_row(*cells, line.fires_when)
    out.print(table)
