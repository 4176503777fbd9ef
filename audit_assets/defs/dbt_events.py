"""Runs dbt in this process and yields the Dagster events that the stock resource would yield.

`DbtCliResource` starts dbt as a program, twice with its version check: 9.5 CPU s per batch against 3.7 here. The
conversion itself is dagster-dbt's own; a test compares the events with those of the stock resource.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from dagster import AssetExecutionContext, Failure
from dagster_dbt import DagsterDbtTranslator

from audit_assets.settings import Settings
from audit_assets.warehouse.dbt_environment import (
    DBT_FOLDER,
    QUIET,
    dbt_arguments,
    dbt_environment,
    profile_environment,
    release_warehouse,
)


def dbt_build(
    context: AssetExecutionContext,
    manifest: Mapping[str, Any],
    translator: DagsterDbtTranslator,
    selection: Sequence[str],
    environment: Mapping[str, str],
    settings: Settings,
) -> Iterator[Any]:
    """Runs dbt's models and tests for `selection` and yields their Dagster events, including those of a failed build.

    Uses two commands, because in `dbt build` a failed test skips all models and tests downstream of it. Raises Failure
    with dbt's message if a model fails. A failed test is a check result, not a failure.
    """
    # Imported here because the web server and the sensors load this module and never run dbt.
    from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

    for command in _commands(context):
        results, failure = _invoke(command, selection, environment, settings)
        for result in results:
            message = DbtCoreCliEventMessage(raw_event=result, event_history_metadata={})
            context.log.debug(str(message))
            yield from message.to_default_asset_events(manifest, translator, context)
        if failure is not None:
            raise Failure(description=f"dbt {command[0]} failed: {failure}")


def _commands(context: AssetExecutionContext) -> Iterator[list[str]]:
    if context.selected_asset_keys:
        yield ["run"]
    if context.selected_asset_check_keys:
        yield ["test", "--exclude-resource-type", "unit_test"]


def _invoke(
    command: Sequence[str], selection: Sequence[str], environment: Mapping[str, str], settings: Settings
) -> tuple[list[dict[str, Any]], str | None]:
    """The results of one dbt command, in the form of its JSON log, and dbt's error message if it failed."""
    from dbt.cli.main import dbtRunner
    from dbt_common.events import functions

    results: list[dict[str, Any]] = []
    errors: list[str] = []

    def collect(event: Any) -> None:  # dbt passes untyped protobuf messages
        if event.info.level == "error":
            errors.append(event.info.msg)
        if event.info.name in ("LogModelResult", "LogTestResult"):
            results.append(cast("dict[str, Any]", functions.msg_to_dict(event)))

    with dbt_environment(environment):
        try:
            outcome = dbtRunner(_parsed_project(settings), callbacks=[collect]).invoke(
                [*command, *dbt_arguments(settings.dbt_target, settings.engine), *QUIET, "--no-write-json", *selection]
            )
        finally:
            release_warehouse()
    failed = any(
        result["info"]["name"] == "LogModelResult" and result["data"]["status"] == "error" for result in results
    )
    if outcome.exception is None and not failed and results:
        return results, None
    return results, "\n".join(errors) or str(outcome.exception or "dbt returned no result")


def read_manifest(settings: Settings) -> dict[str, Any]:
    """dbt's manifest of the project. Parses the project again only if a file changed. Raises Failure."""
    settings.dbt_target.mkdir(parents=True, exist_ok=True)
    path, stamp = settings.dbt_target / "manifest.json", settings.dbt_target / "manifest.of"
    digest = _digest()
    with (settings.dbt_target / "parse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path.exists() and stamp.exists() and stamp.read_text() == digest):
            _parse(settings)
            stamp.write_text(digest)
        try:
            return json.loads(path.read_bytes())
        except ValueError:  # truncated, for example by a full disk
            _parse(settings)
            return json.loads(path.read_bytes())


_parsed: dict[tuple[str, ...], Any] = {}


def _parsed_project(settings: Settings) -> Any:
    """dbt's own manifest object, for its next command in this process, which would otherwise read or parse the project
    again. Raises Failure.

    It holds the names of tables, so there is one per database and schema. Commands may share it as no model is
    ephemeral: dbt adds the SQL of ephemeral models to the object.
    """
    database = (settings.bigquery_project, settings.bigquery_dataset)
    key = (_digest(), settings.engine, *(database if settings.engine == "bigquery" else (settings.duckdb_path.stem,)))
    if key not in _parsed:
        _parsed[key] = _parse(settings, "--no-write-json")  # others read manifest.json under the lock
    return _parsed[key]


def _parse(settings: Settings, *options: str) -> Any:
    from dbt.cli.main import dbtRunner

    with dbt_environment(profile_environment(settings)):
        outcome = dbtRunner().invoke(["parse", *dbt_arguments(settings.dbt_target, settings.engine), *QUIET, *options])
    if not outcome.success:
        raise Failure(description=f"the dbt project does not parse: {outcome.exception}")
    return outcome.result


def _digest() -> str:
    sums = hashlib.sha256()
    for path in sorted(DBT_FOLDER.rglob("*")):
        if path.suffix in (".sql", ".yml", ".yaml"):
            sums.update(str(path.relative_to(DBT_FOLDER)).encode() + path.read_bytes())
    return sums.hexdigest()
