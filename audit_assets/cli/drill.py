"""`audit simulate spike|drop|errors|silence|new-capability` and `audit alerts drills`: run drills, list outcomes."""

import secrets
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.delivery.standalone import deliver_due
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets.cli.clock import clock, now_utc
from audit_assets.cli.output import FAILED, AsJson, err, format_value, out, print_json
from audit_assets.cli.source import writable_source_url
from audit_assets.defs.runner import BuildOutcome, prepare_instance, run_build, run_rules
from audit_assets.drills.outcomes import DrillOutcome, page_with, recorded_drills, span
from audit_assets.drills.run import Pipeline, only_drill, quiet_since, run_drill
from audit_assets.drills.traffic import RULE_OF, Drill, DrillName
from audit_assets.rules.business_clock import read_calendar
from audit_assets.settings import PROJECT_ROOT, Settings, read_settings

PAGE = PROJECT_ROOT / "docs" / "ai-audit-observability.md"

WriteToSource = Annotated[bool, typer.Option("--write-to-source", help="Required if AI_AUDIT_SOURCE_URL is set.")]


def spike(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: six times the usual calls. Makes volume_spike fail and recover, then cleans up."""
    _drill("spike", write_to_source, as_json)


def drop(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: the calls of one capability stop. Makes volume_drop fail and recover, then cleans up."""
    _drill("drop", write_to_source, as_json)


def errors(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: every second call fails. Makes error_surge fail and recover, then cleans up."""
    _drill("errors", write_to_source, as_json)


def silence(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: no call for two and a half business hours. Makes no_recent_logs fail and recover, then cleans up."""
    _drill("silence", write_to_source, as_json)


def new_capability(write_to_source: WriteToSource = False, as_json: AsJson = False) -> None:
    """Drill: calls of an unknown capability. Makes new_capability fail and recover, then cleans up."""
    _drill("new-capability", write_to_source, as_json)


def _drill(name: DrillName, write_to_source: bool, as_json: bool) -> None:
    settings = read_settings()
    url = writable_source_url(settings, write_to_source)
    prepare_instance(settings)
    with only_drill(settings.home / "drill.lock", name, _report):
        now = now_utc()
        drill = Drill(name, secrets.token_hex(3), now, quiet_since(name, now, read_calendar(settings.calendar_file)))
        _report(f"drill {drill.drill_id}: {name}, expects {RULE_OF[name]}; its rows are marked and will be deleted")
        with redirect_stdout(sys.stderr) if as_json else nullcontext():  # findings go to stderr, only JSON to stdout
            outcome = run_drill(settings, url, drill, make_pipeline(settings))
    if as_json:
        print_json({**asdict(outcome), "passed": outcome.passed})
    else:
        _print(outcome)
    if not outcome.passed:
        raise typer.Exit(FAILED)


def make_pipeline(settings: Settings) -> Pipeline:
    """The pipeline of this home at the command's clock, which reports failed runs on stderr."""
    from audit_assets.definitions import build_definitions  # imports Dagster, which takes seconds

    at, defs = clock(), build_definitions(settings)
    return Pipeline(
        build=lambda first: _report_failure(run_build(defs, first, at.today(), "days", at.fixed_at)),
        judge=lambda: _report_failure(run_rules(defs, at.fixed_at)),
        deliver=lambda: deliver_due(settings, err, at),
        report=_report,
        clock=at,
    )


def list_drills(
    write: Annotated[
        bool, typer.Option("--write", help=f"Write the latest outcome of each drill to docs/{PAGE.name}.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the outcomes of drills, newest first: how long until the check failed, and until it recovered."""
    with open_ledger(read_settings().ledger_url) as ledger, ledger.transaction() as connection:
        recorded = recorded_drills(connection)
    if write:
        PAGE.write_text(page_with(PAGE.read_text(), recorded))
        err.print(f"written to docs/{PAGE.name}")
    if as_json:
        listed = [asdict(each) for each in recorded]
        for figures in listed:
            figures["told"] = figures.pop("notified")
        print_json({"drills": listed})
        return
    if not recorded:
        out.print("No drill has been recorded yet; run `audit simulate spike`.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("began", "drill", "rule", "detected", "recovered", "notified", "outcome"):
        table.add_column(heading)
    for each in recorded:
        outcome = "[green]passed[/]" if each.passed else "[bold red]failed[/]"
        spans = (span(each.detected_after_seconds), span(each.recovered_after_seconds))
        table.add_row(format_value(each.began_at), each.drill, each.rule_id, *spans, str(each.notified), outcome)
    out.print(table)


def _report(line: str) -> None:
    err.print(line, markup=False)


def _report_failure(outcome: BuildOutcome) -> None:
    if not outcome.succeeded:
        err.print(Text(outcome.failure or "the run failed", "red"))


def _print(outcome: DrillOutcome) -> None:
    def seconds(took: float | None, what: str) -> str:
        return f"{what} after {took:.0f} s" if took is not None else f"not {what}"

    result = "[green]passed[/]" if outcome.passed else "[bold red]failed[/]"
    detected = seconds(outcome.detected_after_seconds, "detected")
    recovered = seconds(outcome.recovered_after_seconds, "recovered")
    out.print(f"{result} {outcome.drill}: {outcome.rule} {detected}, {recovered}")
    opened, closed = outcome.sent_when_opened, outcome.sent_when_resolved
    out.print(f"messages and incidents: {opened} opened, {closed} of them closed")
    out.print(f"began {format_value(outcome.began_at)} on {outcome.capability}; recorded in the alert ledger")
