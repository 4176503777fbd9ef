"""`audit build`, `audit demo`, `audit dev`: the pipeline through Dagster, and its UI."""

import os
import sys
import time
from contextlib import nullcontext, redirect_stdout
from datetime import date, timedelta
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from audit_assets.alerting.delivery.standalone import deliver_due
from audit_assets.cli.clock import clock, now_utc
from audit_assets.cli.dashboards import dashboards_port, need_port
from audit_assets.cli.output import FAILED, AsJson, err, format_value, out, print_json
from audit_assets.cli.source import make_traffic, start_source
from audit_assets.defs.runner import BuildOutcome, prepare_instance, run_build
from audit_assets.demo.home_lock import serving_lock
from audit_assets.demo.services import make_services, run_services
from audit_assets.ingest.gaps import Reconciliation, reconcile
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.settings import DASHBOARDS_PORT, Settings, read_settings
from audit_assets.warehouse.builds import count_rows, were_loaded
from audit_assets.warehouse.factory import open_warehouse
from audit_assets.warehouse.protocol import Mode
from audit_assets.warehouse.snapshot import read_manifest

DEMO_DAYS = 60


def build(
    first: Annotated[str | None, typer.Option("--from", help="First UTC day, as 2026-11-01. Default: today.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last UTC day. Default: today.")] = None,
    models_only: Annotated[
        bool, typer.Option("--models-only", help="Build from the rows in the warehouse, without reading the source.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Re-read these days, build the models, publish and judge, as one run of the sync job that the UI shows. Exits 1 if
    the run failed, or if the warehouse never had a row of these days."""
    settings = read_settings()
    today = clock().today()
    days = _day(first, "--from") or today, _day(last, "--to") or today
    policy = read_policy(settings.policy_file)
    earliest = policy.first_day
    if not earliest <= days[0] <= days[1] <= today:
        raise WindowError(f"--from {days[0]} --to {days[1]}: give two days in order, from {earliest} to {today} (UTC)")
    prepare_instance(settings)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # findings go to stderr, only JSON to stdout
        outcome = _run(settings, *days, mode=None if models_only else "days")
    if not outcome.succeeded:
        _report(outcome, None, as_json)
        raise typer.Exit(FAILED)
    with open_warehouse(settings, policy.bigquery).maintenance("audit build") as session:
        rows, had_rows = count_rows(session, *days), were_loaded(session, *days)
    _report(outcome, rows, as_json)
    if had_rows:
        return
    if not as_json:
        span = " to ".join(dict.fromkeys(map(str, days)))
        reason = f"the warehouse has no row of {span} (UTC), and never had one"
        out.print(f"nothing was built: {reason}; check that the source has rows of these days", soft_wrap=True)
    raise typer.Exit(FAILED)


def demo(
    serve: Annotated[bool, typer.Option(help="Serve Dagster afterwards.")] = True,
    days: Annotated[int, typer.Option(min=15, max=1000, help="UTC days of synthetic traffic.")] = DEMO_DAYS,
    rows_per_day: Annotated[int, typer.Option(min=100)] = 8000,
    seed: Annotated[int, typer.Option()] = 1,
    send: Annotated[bool, typer.Option(help="Send alerts to Slack and PagerDuty if tokens are set.")] = False,
) -> None:
    """Run synthetic traffic (or your AI_AUDIT_SOURCE_URL) through the whole pipeline, to the first alerts on this
    terminal."""
    if serve and clock().fixed_at:
        raise WindowError("--now: the served processes use the real clock; add SERVE=0 to end after the run")
    if not send:
        os.environ["AI_AUDIT_SEND"] = "0"  # also for the processes that are served afterwards
    if not serve:
        _run_demo(read_settings(), days, rows_per_day, seed)
        err.print("  `make demo` also serves the UI; `make dev` serves it on this data")
        return
    settings = _with_local_dashboards(read_settings())
    with serving_lock(settings.home, "audit demo") as lock:
        _run_demo(settings, days, rows_per_day, seed)
        _serve(settings, lock, with_traffic=settings.configured_source_url is None)


def _run(settings: Settings, first: date, last: date, mode: Mode | None) -> BuildOutcome:
    from audit_assets.definitions import build_definitions  # imports Dagster, which takes seconds

    return run_build(build_definitions(settings), first, last, mode, clock().fixed_at)


def _run_demo(settings: Settings, days: int, rows_per_day: int, seed: int) -> None:
    """Generates traffic and runs it through the pipeline. Raises typer.Exit if the run fails or the counts differ."""
    begun = time.monotonic()
    prepare_instance(settings)
    own = settings.configured_source_url is None
    _step("Source")
    url = start_source(settings)
    if own:
        rows = make_traffic(url, days, rows_per_day, seed, anomaly=True)
        err.print(f"  {rows:,} synthetic rows over {days} days, ending with a spike and a surge of errors")
    _step("Sync, models, snapshot, rules")
    today = clock().today()
    # Regenerated traffic starts further back than the look-back of a delta, so its days are read again.
    again = own and read_manifest(settings.snapshot_folder) is not None
    mode: Mode = "days" if again else "delta"
    outcome = _run(settings, today - timedelta(days=days - 1), today, mode)
    _step("Notifications")
    deliver_due(settings, out, clock())
    _step("Reconciliation")
    policy = read_policy(settings.policy_file)
    warehouse = open_warehouse(settings, policy.bigquery)
    counts = reconcile(settings.source_url, policy, warehouse, settings.snapshot_folder, clock().fixed_at)
    out.print(_reconciliation_table(counts, outcome))
    err.print(f"  {time.monotonic() - begun:.0f} s")
    if not (outcome.succeeded and counts.agrees):
        raise typer.Exit(FAILED)


def dev() -> None:
    """Serve Dagster and the dashboards on the existing data, with the continuous sync."""
    settings = _with_local_dashboards(read_settings())
    with serving_lock(settings.home, "audit dev") as lock:
        prepare_instance(settings)
        start_source(settings)
        _serve(settings, lock, with_traffic=False)


def _with_local_dashboards(settings: Settings) -> Settings:
    """Without a configured dashboard URL, links point to the dashboards that are served next to Dagster."""
    if settings.dashboard_url:
        return settings
    os.environ["AI_AUDIT_DASHBOARD_URL"] = f"http://localhost:{DASHBOARDS_PORT}"
    return read_settings()


def _serve(settings: Settings, lock: int, with_traffic: bool) -> None:
    """Runs this home's services until SIGINT or SIGTERM, then stops all of them. Raises ServiceLostError."""
    host, port = "127.0.0.1", urlsplit(settings.dagster_url).port or 3333
    dashboards = dashboards_port(settings)
    need_port(host, port, "AI_AUDIT_DAGSTER_URL")
    need_port(host, dashboards, "AI_AUDIT_DASHBOARD_URL")
    out.print(f"Dagster: http://localhost:{port}  (Ctrl-C stops everything)")
    services = make_services(settings, port, dashboards, with_traffic)
    run_services(settings, services, lock, clock(), lambda line: err.print(Text(f"{now_utc():%H:%M:%S} {line}")))


def _report(outcome: BuildOutcome, rows: int | None, as_json: bool) -> None:
    figures = {
        "run_id": outcome.run_id,
        "succeeded": outcome.succeeded,
        "rows": rows,
        "checks_passed": len(outcome.passed),
        "checks_failed": list(outcome.failing),
        "checks_not_checked": sorted(outcome.not_checked),
        "failure": outcome.failure,
    }
    if as_json:
        print_json(figures)
    else:
        out.print(f"run {outcome.run_id}: {'succeeded' if outcome.succeeded else 'failed'}")
        failing = outcome.failing
        out.print(f"{len(outcome.checks)} checks, {len(failing)} failing {', '.join(failing)}", markup=False)
        if outcome.not_checked:
            out.print(f"{len(outcome.not_checked)} had no data to check: {', '.join(sorted(outcome.not_checked))}")
        if outcome.failure:
            err.print(Text(outcome.failure))


def _reconciliation_table(counts: Reconciliation, outcome: BuildOutcome) -> Table:
    failing, unchecked = (
        ", ".join(sorted(name.split(":")[-1] for name in names)) for names in (outcome.failing, outcome.not_checked)
    )
    differ = "no rows to compare" if counts.compared_nothing else "the counts do not agree"
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_row("rows at the source", format_value(counts.source_rows))
    table.add_row("loaded", format_value(counts.loaded_rows))
    table.add_row("rejected, with a reason", format_value(counts.rejected_rows))
    table.add_row("counted by ai_audit_daily", format_value(counts.daily_rows))
    table.add_row("days (UTC)", format_value(counts.days))
    table.add_row("", "the counts agree" if counts.agrees else f"[bold red]{differ}[/]: see `audit gaps`")
    table.add_row("asset checks", f"{len(outcome.checks)}, {len(outcome.failing)} failing: {failing or 'none'}")
    if unchecked:
        table.add_row("", f"{len(outcome.not_checked)} had no data to check: {unchecked}")
    return table


def _step(title: str) -> None:
    err.print(Rule(Text(title), align="left", style="dim"))


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise WindowError(f"{option} {text}: not a day; write it as 2026-11-01") from None
