"""dbt inside this process, its results as the Dagster events that the stock resource would give.

`DbtCliResource` starts dbt as a program, twice with its version check: 9.5 CPU s a batch against 3.7 here. The
conversion itself is dagster-dbt's own; a test holds the events equal to the stock resource's.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagster import AssetExecutionContext, Failure
from dagster_dbt import DagsterDbtTranslator

from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.dbt_calls import (
    DBT_FOLDER,
    QUIET,
    dbt_environment,
    let_go_of_the_warehouse,
    places,
    profile_environment,
)


def dbt_build(
    context: AssetExecutionContext,
    manifest: Mapping[str, Any],
    translator: DagsterDbtTranslator,
    selection: Sequence[str],
    environment: Mapping[str, str],
    settings: Settings,
) -> Iterator[Any]:
    """Runs dbt's models and tests for `selection` and yields their Dagster events, those of a failed build included.

    Two commands: in `dbt build` a failed test keeps all downstream of it, models and tests, from running. Raises
    Failure with dbt's own words where a model fails; a failed test is a check's result, not a failure.
    """
    # Here, and not above: the web server and the sensors load this module and never run dbt.
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
    """dbt's results of one command, as its JSON log has them; and in its own words why it failed, if it did."""
    from dbt.cli.main import dbtRunner
    from dbt_common.events.functions import msg_to_dict

    results: list[dict[str, Any]] = []
    errors: list[str] = []

    def heard(event: Any) -> None:  # dbt gives protobuf messages without types
        if event.info.level == "error":
            errors.append(event.info.msg)
        if event.info.name in ("LogModelResult", "LogTestResult"):
            results.append(msg_to_dict(event))

    with dbt_environment(environment):
        try:
            outcome = dbtRunner(callbacks=[heard]).invoke(
                [*command, *places(settings.dbt_target, settings.engine), *QUIET, "--no-write-json", *selection]
            )
        finally:
            let_go_of_the_warehouse()
    failed = any(
        result["info"]["name"] == "LogModelResult" and result["data"]["status"] == "error" for result in results
    )
    if outcome.exception is None and not failed and results:
        return results, None
    return results, "\n".join(errors) or str(outcome.exception or "dbt gave no result")


def read_manifest(settings: Settings) -> dict[str, Any]:
    """dbt's manifest of the project as it is; parsed anew only where a file of it changed. Raises Failure."""
    settings.dbt_target.mkdir(parents=True, exist_ok=True)
    path, stamp = settings.dbt_target / "manifest.json", settings.dbt_target / "manifest.of"
    digest = _digest()
    with (settings.dbt_target / "parse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path.exists() and stamp.exists() and stamp.read_text() == digest):
            _parse(settings)
            stamp.write_text(digest)
        return json.loads(path.read_bytes())


def _parse(settings: Settings) -> None:
    from dbt.cli.main import dbtRunner

    with dbt_environment(profile_environment(settings)):
        outcome = dbtRunner().invoke(["parse", *places(settings.dbt_target, settings.engine), *QUIET])
    if not outcome.success:
        raise Failure(description=f"the dbt project does not parse: {outcome.exception}")


def _digest() -> str:
    sums = hashlib.sha256()
    for path in sorted(DBT_FOLDER.rglob("*")):
        if path.suffix in (".sql", ".yml"):
            sums.update(str(path.relative_to(DBT_FOLDER)).encode() + path.read_bytes())
    return sums.hexdigest()


MANIFEST: Mapping[str, Any] = read_manifest(read_settings())
