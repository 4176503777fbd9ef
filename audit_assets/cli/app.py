"""`audit`: the commands in their groups, and the one place where an error becomes a line and an exit code."""

import os
import sys

import typer

from audit_assets.access.document import MarksError
from audit_assets.access.load import AccessFileError
from audit_assets.alerting.ledger import LedgerError
from audit_assets.alerting.outside_text import shown
from audit_assets.alerting.remediation import RemediationError
from audit_assets.alerting.silences import SilenceError
from audit_assets.cli import (
    access,
    alerts,
    dashboards,
    drilling,
    remediation,
    rules,
    serving,
    source,
    syncing,
    verifying,
    watching,
)
from audit_assets.cli.screen import FAILED, WRONG_USAGE, err
from audit_assets.dashboards.capture import CaptureError
from audit_assets.dashboards.chromium import ChromiumError
from audit_assets.dashboards.load import DefinitionError
from audit_assets.dashboards.reader import ReadError
from audit_assets.ingest.mirror import MirrorError
from audit_assets.ingest.policy import PolicyError
from audit_assets.ingest.source_error import SourceError
from audit_assets.ingest.windows import WindowError
from audit_assets.rules.calendar import CalendarError
from audit_assets.rules.load import RulesFolderError
from audit_assets.rules.routing import RoutingError
from audit_assets.rules.rows import RuleError
from audit_assets.settings import SettingsError
from audit_assets.simulate.binaries import PostgresError
from audit_assets.simulate.parquet import LoadError
from audit_assets.simulate.tables import SourceError as MadeSourceError
from audit_assets.warehouse.outside_counts import CountsError
from audit_assets.warehouse.protocol import WarehouseError
from audit_assets.warehouse.snapshot import SnapshotError

app = typer.Typer(
    name="audit",
    help="See what an AI copilot does, from its audit log. Times are UTC unless said otherwise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(syncing.sync_app, name="sync", rich_help_panel="Data")
app.command("gaps", rich_help_panel="Data")(syncing.gaps)
app.command("build", rich_help_panel="Data")(serving.build)
app.command("load", rich_help_panel="Source")(source.load)
app.add_typer(source.source_app, name="source", rich_help_panel="Source")
app.add_typer(source.simulate_app, name="simulate", rich_help_panel="Source")
for drill in (drilling.spike, drilling.drop, drilling.errors, drilling.silence, drilling.new_capability):
    source.simulate_app.command(drill.__name__.replace("_", "-"), rich_help_panel="Drills")(drill)
app.add_typer(rules.rules_app, name="rules", rich_help_panel="Alerts")
app.add_typer(alerts.alerts_app, name="alerts", rich_help_panel="Alerts")
app.add_typer(remediation.remediate_app, name="remediate", rich_help_panel="Alerts")
app.command("watchdog", rich_help_panel="Alerts")(watching.watchdog)
app.add_typer(dashboards.dashboards_app, name="dashboards", rich_help_panel="Dashboards")
app.command("verify-kpis", rich_help_panel="Dashboards")(verifying.verify_kpis)
app.add_typer(access.access_app, name="access", rich_help_panel="Access")
app.command("demo", rich_help_panel="Serving")(serving.demo)
app.command("dev", rich_help_panel="Serving")(serving.dev)

_WRONG_USAGE = (
    SettingsError,
    PolicyError,
    WindowError,
    CalendarError,
    RoutingError,
    SilenceError,
    RemediationError,
    DefinitionError,
    AccessFileError,
    MarksError,
)
_FAILED = (
    MirrorError,
    SourceError,
    MadeSourceError,
    WarehouseError,
    SnapshotError,
    PostgresError,
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
    """Entry of the `audit` command. Exits 0 on success, 1 on a failure it reports, 2 on wrong usage."""
    try:
        app(prog_name="audit")  # also as `python -m audit_assets.cli`
    except _WRONG_USAGE as error:
        _end(str(error), WRONG_USAGE)
    except _FAILED as error:
        _end(str(error), FAILED)
    except BrokenPipeError:  # `audit … | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        _end("stopped; what was committed stays, run again to go on", 130)


def _end(message: str, code: int) -> None:
    err.print(f"[bold red]error[/] {shown(message, longest=1000)}", soft_wrap=True)
    sys.exit(code)
