"""The Dagster code location: combines everything in defs/."""

from dagster import Definitions, colored_console_logger, in_process_executor

from audit_assets.defs.alerting import alert_deliveries
from audit_assets.defs.checks import CHECKS
from audit_assets.defs.dashboards import DASHBOARDS
from audit_assets.defs.ingestion import source_table, source_workspaces, sync_ai_audit_logs
from audit_assets.defs.ledger_export_assets import mirror_alert_ledger
from audit_assets.defs.models import models
from audit_assets.defs.publishing import published_snapshot
from audit_assets.defs.resources import Surroundings
from audit_assets.defs.schedules import JOBS, SCHEDULES, SENSORS
from audit_assets.defs.terminal_logger import terminal
from audit_assets.defs.upkeep import hourly_upkeep, upkeep
from audit_assets.private_files import restrict_new_files

# Code servers and run workers load this module first, whichever process started them.
restrict_new_files()

defs = Definitions(
    assets=[
        source_table,
        source_workspaces,
        sync_ai_audit_logs,
        models,
        published_snapshot,
        mirror_alert_ledger,
        *DASHBOARDS,
    ],
    asset_checks=CHECKS,
    jobs=[*JOBS, upkeep],
    schedules=[*SCHEDULES, hourly_upkeep],
    sensors=[*SENSORS, alert_deliveries],
    loggers={"console": colored_console_logger, "terminal": terminal},
    resources={"surroundings": Surroundings()},
    # One process per run: with one process per step, four steps took 35 s longer.
    executor=in_process_executor,
)
