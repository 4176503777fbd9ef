"""`audit build`, `audit demo`, `audit dev`: the pipeline through Dagster, and its UI."""

import compileall
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from urllib.parse import urlsplit

import psutil
import typer
from rich.rule import Rule
from rich.text import Text

from audit_assets.cli.dashboards import dashboards_port, need_port
from audit_assets.cli.delivering import deliver_due
from audit_assets.cli.headless import BuildOutcome, prepare_instance, run_build
from audit_assets.cli.reckoning import reckon
from audit_assets.cli.screen import FAILED, AsJson, err, out, print_json
from audit_assets.cli.source import make_traffic, started
from audit_assets.ingest.policy import read_policy
from audit_assets.ingest.windows import WindowError
from audit_assets.settings import DASHBOARDS_PORT, PROJECT_ROOT, Settings, read_settings
from audit_assets.warehouse.snapshot import read_manifest

DEMO_DAYS = 60


def build(
    first: Annotated[str | None, typer.Option("--from", help="First UTC day, as 2026-11-01. Default: today.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last UTC day. Default: today.")] = None,
    as_json: AsJson = False,
) -> None:
    """Re-read these days, build the models, publish, judge: one run of the sync job, shown in the UI like any other."""
    settings = read_settings()
    today = datetime.now(UTC).date()
    days = _day(first, "--from") or today, _day(last, "--to") or today
    earliest = read_policy(settings.policy_file).first_day
    if not earliest <= days[0] <= days[1] <= today:
        raise WindowError(f"--from {days[0]} --to {days[1]}: give two days in order, from {earliest} to {today} (UTC)")
    prepare_instance(settings)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # findings are told, the JSON stays alone
        outcome = run_build(settings, *days, mode="days")
    _report(outcome, as_json)


def demo(
    serve: Annotated[bool, typer.Option(help="Serve Dagster afterwards.")] = True,
    days: Annotated[int, typer.Option(min=15, max=1000, help="UTC days of made traffic.")] = DEMO_DAYS,
    rows_per_day: Annotated[int, typer.Option(min=100)] = 8000,
    seed: Annotated[int, typer.Option()] = 1,
    send: Annotated[bool, typer.Option(help="Tell Slack and PagerDuty, where tokens are set.")] = False,
) -> None:
    """Made traffic (or your AI_AUDIT_SOURCE_URL), through the whole pipeline, to a first alert on this terminal."""
    if not send:
        os.environ["AI_AUDIT_SEND"] = "0"  # for what is served afterwards, too
    settings = _leading_here(read_settings()) if serve else read_settings()
    begun = time.monotonic()
    prepare_instance(settings)
    own = settings.configured_source_url is None
    _step("Source")
    url = started(settings)
    if own:
        rows = make_traffic(url, days, rows_per_day, seed, anomaly=True)
        err.print(f"  {rows:,} made rows over {days} days, ending with a spike and a surge of errors")
    _step("Sync, models, snapshot, rules")
    today = datetime.now(UTC).date()
    # Made anew, the traffic's end reaches further back than a delta looks: then its days are read again.
    again = own and read_manifest(settings.snapshot_folder) is not None
    outcome = run_build(settings, today - timedelta(days=days - 1), today, mode="days" if again else "delta")
    _step("Telling")
    deliver_due(settings, out)
    _step("Reckoning")
    reckoning = reckon(settings, outcome)
    out.print(reckoning.table())
    err.print(f"  {time.monotonic() - begun:.0f} s")
    if not (outcome.succeeded and reckoning.agrees):
        raise typer.Exit(FAILED)
    if serve:
        live = [sys.executable, "-m", "audit_assets.cli", "simulate", "traffic", "--live", "--rate", "0.5"]
        _serve(settings, [live] if own else [])
    else:
        err.print("  `make demo` serves the UI too; `make dev` serves it on these data")


def dev() -> None:
    """Serve Dagster and the dashboards on the data that is there; the continuous sync runs by itself."""
    settings = _leading_here(read_settings())
    prepare_instance(settings)
    started(settings)
    _serve(settings, [])


def _leading_here(settings: Settings) -> Settings:
    """Where nobody said where the dashboards are, links lead to those that are served beside Dagster."""
    if settings.dashboard_url:
        return settings
    os.environ["AI_AUDIT_DASHBOARD_URL"] = f"http://localhost:{DASHBOARDS_PORT}"
    return read_settings()


def _serve(settings: Settings, beside: Sequence[list[str]]) -> None:
    """Runs `dagster dev`, the dashboards and what else belongs beside it until a signal, and ends them all."""
    host, port = "127.0.0.1", urlsplit(settings.dagster_url).port or 3333
    dashboards = dashboards_port(settings)
    need_port(host, port, "AI_AUDIT_DAGSTER_URL")
    need_port(host, dashboards, "AI_AUDIT_DASHBOARD_URL")
    # Workers are new processes, one a run: compiled here, they need not compile the package each time.
    compileall.compile_dir(PROJECT_ROOT / "audit_assets", quiet=2)
    # By module: a console script would be looked up on a PATH that may not hold this environment.
    dagster = [sys.executable, "-m", "dagster", "dev", "-w", str(PROJECT_ROOT / "workspace.yaml"), "-h", host]
    pages = [sys.executable, "-m", "audit_assets.cli", "dashboards", "serve", "--port", str(dashboards)]
    children = [_child([*dagster, "-p", str(port)]), _child(pages), *map(_child, beside)]
    out.print(f"Dagster: http://localhost:{port}  (Ctrl-C ends all)")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: [child.send_signal(signal.SIGINT) for child in children])
    code = children[0].wait()
    for child in children[1:]:
        child.send_signal(signal.SIGINT)
    for child in children:
        child.wait()
        _end_group(child.pid)
    if code not in (0, -signal.SIGINT, 130):
        raise typer.Exit(FAILED)


def _child(command: list[str]) -> subprocess.Popen[bytes]:
    """A child with default signals, in a group of its own: one started by a script would ignore them."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore::UserWarning:sqlglot.tokens"}

    def default_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, preexec_fn=default_signals, process_group=0)


def _end_group(group: int) -> None:
    """Returns when no process of the group lives. Dagster's code server outlives `dagster dev` while a run is under
    way: a micro-batch has the time to end, anything longer is interrupted, and made good by the next run."""
    _, living = psutil.wait_procs(_living(group), timeout=20)
    for end, seconds in ((psutil.Process.terminate, 5), (psutil.Process.kill, 5)):
        for process in living:
            with suppress(psutil.NoSuchProcess):
                end(process)
        _, living = psutil.wait_procs(_living(group), timeout=seconds)


def _living(group: int) -> list[psutil.Process]:
    """The processes of a group that have not ended: a zombie has, though the system may never take note of it."""

    def lives(process: psutil.Process) -> bool:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
        return False

    return [process for process in psutil.process_iter() if lives(process)]


def _report(outcome: BuildOutcome, as_json: bool) -> None:
    failing = sorted(name for name, passed in outcome.checks.items() if not passed)
    figures = {
        "run_id": outcome.run_id,
        "succeeded": outcome.succeeded,
        "checks_passed": len(outcome.checks) - len(failing),
        "checks_failed": failing,
        "failure": outcome.failure,
    }
    if as_json:
        print_json(figures)
    else:
        out.print(f"run {outcome.run_id}: {'succeeded' if outcome.succeeded else 'failed'}")
        out.print(f"{len(outcome.checks)} checks, {len(failing)} failing {', '.join(failing)}", markup=False)
        if outcome.failure:
            err.print(Text(outcome.failure))
    if not outcome.succeeded:
        raise typer.Exit(FAILED)


def _step(title: str) -> None:
    err.print(Rule(Text(title), align="left", style="dim"))


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise WindowError(f"{option} {text}: not a day; write it as 2026-11-01") from None
