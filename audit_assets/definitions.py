"""The Dagster code location: `defs`, built from the environment's settings when Dagster loads it."""

from dagster import Definitions, colored_console_logger, definitions, in_process_executor

from audit_assets.defs.checks import rule_checks, sync_checks, watched_checks
from audit_assets.defs.data_quality import data_quality_checks
from audit_assets.defs.ingestion import source_tables, sync_asset
from audit_assets.defs.models import dbt_models
from audit_assets.defs.project import read_project
from audit_assets.defs.publishing import dashboards, ledger_export, published_snapshot
from audit_assets.defs.resources import build_resources
from audit_assets.defs.schedules import delivery_sensor, jobs, judge_sensor, schedules, sync_sensor
from audit_assets.defs.terminal_logger import terminal
from audit_assets.defs.upkeep import hourly_upkeep, upkeep_job
from audit_assets.private_files import restrict_new_files
from audit_assets.settings import Settings, read_settings


def build_definitions(settings: Settings) -> Definitions:
    """The assets, checks, jobs, schedules, sensors and resources for these settings. Reads the sync policy, the rules
    and dbt's manifest once."""
    project = read_project(settings)
    models = dbt_models(project)
    assets = [sync_asset(project), models, published_snapshot(project), ledger_export(project)]
    rules = rule_checks(project, models)
    checks = [rules, *sync_checks(settings), data_quality_checks(settings)]
    # A micro-batch runs the rules and the checks of the sync. The tests of the models (3 of 11 CPU s) run with the
    # hourly, nightly, daily and range runs.
    every_batch = sorted(key for check in checks for key in check.check_keys)
    return Definitions(
        assets=[*source_tables(project), *assets, *dashboards(project)],
        asset_checks=checks,
        jobs=[*jobs(rules.check_keys), upkeep_job(project, watched_checks(models))],
        schedules=[*schedules(project.policy), hourly_upkeep()],
        sensors=[
            sync_sensor(project, sorted(key for asset in assets for key in asset.keys), every_batch),
            judge_sensor(project),
            delivery_sensor(settings),
        ],
        loggers={"console": colored_console_logger, "terminal": terminal},
        resources=build_resources(settings),
        # One process per run: with one process per step, four steps took 35 s longer.
        executor=in_process_executor,
    )


@definitions
def defs() -> Definitions:
    """What code servers and run workers load, whichever process started them."""
    restrict_new_files()
    return build_definitions(read_settings())
