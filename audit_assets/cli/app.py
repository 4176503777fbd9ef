"""`audit`: the commands in their groups, and the one place that turns errors into a line and an exit code."""

import os
import sys

import typer
from rich import markup

from audit_assets.access.document import MarkersError
from audit_assets.access.load import AccessFileError
from audit_assets.alerting.delivery.silences import SilenceError
from audit_assets.alerting.ledger.listing import AlertNotFoundError
from audit_assets.alerting.ledger.tables import LedgerError
from audit_assets.alerting.remediation.lifecycle import RemediationError
from audit_assets.backtest.external_series import CountsError
from audit_assets.cli import (
    access,
    alerts,
    dashboards,
    drill,
    remediation,
    rules,
    serve,
    source,
    sync,
    verify_kpis,
    watchdog,
)
from audit_assets.cli.clock import use_clock
from audit_assets.cli.output import FAILED, WRONG_USAGE, err
from audit_assets.dashboards.capture import CaptureError, ChromiumError
from audit_assets.dashboards.definition.load import DefinitionError
from audit_assets.dashboards.query.reader import ReadError
from audit_assets.demo.home_lock import HomeServedError
from audit_assets.demo.load import LoadError
from audit_assets.demo.postgres_files import PostgresError
from audit_assets.demo.source_tables import SourceError as DemoSourceError
from audit_assets.demo.supervisor import ServiceLostError
from audit_assets.ingest.policy import PolicyError
from audit_assets.ingest.source_connection import SourceError
from audit_assets.ingest.state_mirror import MirrorError
from audit_assets.ingest.windows import WindowError
from audit_assets.private_files import restrict_existing, restrict_new_files
from audit_assets.rules.business_clock import CalendarError
from audit_assets.rules.evaluate import RuleError
from audit_assets.rules.load import RulesFolderError
from audit_assets.rules.routing import RoutingError
from audit_assets.settings import SettingsError, read_settings
from audit_assets.text.sanitize import escape
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import SnapshotError

app = typer.Typer(
    name="audit",
    help="See what an AI copilot does, from its audit log. Times are UTC unless noted otherwise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(use_clock)
app.add_typer(sync.sync_app, name="sync", rich_help_panel="Data")
app.command("gaps", rich_help_panel="Data")(sync.gaps)
app.command("build", rich_help_panel="Data")(serve.build)
app.command("load", rich_help_panel="Source")(source.load)
app.add_typer(source.source_app, name="source", rich_help_panel="Source")
app.add_typer(source.simulate_app, name="simulate", rich_help_panel="Source")
for command in (drill.spike, drill.drop, drill.errors, drill.silence, drill.new_capability):
    source.simulate_app.command(command.__name__.replace("_", "-"), rich_help_panel="Drills")(command)
app.add_typer(rules.rules_app, name="rules", rich_help_panel="Alerts")
app.add_typer(alerts.alerts_app, name="alerts", rich_help_panel="Alerts")
app.add_typer(remediation.remediate_app, name="remediate", rich_help_panel="Alerts")
app.command("watchdog", rich_help_panel="Alerts")(watchdog.watchdog)
app.add_typer(dashboards.dashboards_app, name="dashboards", rich_help_panel="Dashboards")
app.command("verify-kpis", rich_help_panel="Dashboards")(verify_kpis.verify_kpis)
app.add_typer(access.access_app, name="access", rich_help_panel="Access")
app.command("demo", rich_help_panel="Serving")(serve.demo)
app.command("dev", rich_help_panel="Serving")(serve.dev)

_WRONG_USAGE = (
    SettingsError,
    PolicyError,
    WindowError,
    CalendarError,
    RoutingError,
    SilenceError,
    AlertNotFoundError,
    RemediationError,
    DefinitionError,
    AccessFileError,
    MarkersError,
)
_FAILED = (
    MirrorError,
    SourceError,
    DemoSourceError,
    WarehouseError,
    SnapshotError,
    PostgresError,
    HomeServedError,
    ServiceLostError,
    LoadError,
    RulesFolderError,
    RuleError,
    CountsError,
    LedgerError,
    ReadError,
    CaptureError,
    ChromiumError,
)


def main() -> None:
    """Entry point of the `audit` command. Exits 0 on success, 1 on a failure it reports, 2 on wrong usage."""
    restrict_new_files()
    try:
        _restrict_home()
        app(prog_name="audit")  # also as `python -m audit_assets.cli`
    except _WRONG_USAGE as error:
        _end(str(error), WRONG_USAGE)
    except _FAILED as error:
        _end(str(error), FAILED)
    except BrokenPipeError:  # `audit … | head`: the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        _end("interrupted; committed work is kept, run the command again to continue", 130)


def _restrict_home() -> None:
    """Removes read access that an earlier version gave to other users. An invalid setting is left for the command to
    report."""
    try:
        settings = read_settings()
    except SettingsError:
        return
    database = settings.duckdb_path
    other_files = (database, database.with_name(f"{database.name}.wal"), settings.lock_path, settings.state_file)
    try:
        changed = restrict_existing(settings.home, other_files)
    except OSError as error:
        line = f"other users may be able to read {settings.home}: {error.strerror}: {error.filename}"
        err.print(f"[yellow]{markup.escape(line)}[/]", soft_wrap=True)
        return
    if changed:
        line = f"{changed} files and folders of {settings.home} were readable by others; they no longer are"
        err.print(line, markup=False, soft_wrap=True)


def _end(message: str, code: int) -> None:
    err.print(f"[bold red]error[/] {escape(message, longest=1000)}", soft_wrap=True)
    sys.exit(code)
