"""Rebuilds all models in a new process: `python -m benchmarks.one_rebuild ROUNDS`.

Alternates `dbt run --full-refresh` in this process, as the project runs dbt, and the compiled SQL in bare DuckDB.
Prints the seconds of each, from opening to closing the file, and each table's row count after both.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import duckdb
import yaml
from jinja2 import Template

from audit_assets.ingest.policy import Statuses
from audit_assets.settings import PROJECT_ROOT, Settings, read_settings
from benchmarks.home import NOW

_DBT = PROJECT_ROOT / "dbt"


@dataclass(frozen=True)
class Model:
    """A compiled model: its relation, whether it is a view, its SELECT."""

    relation: str
    is_view: bool
    sql: str


def main() -> None:
    settings = read_settings()
    settings.dbt_target.mkdir(parents=True, exist_ok=True)
    os.environ["AI_AUDIT_DUCKDB_PATH"] = str(settings.duckdb_path)
    os.environ["AI_AUDIT_BUILD_NOW"] = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    os.environ.update(Statuses().environment())
    rebuilds: list[float] = []
    bares: list[float] = []
    _, models = _rebuild(settings)  # parses the project and creates the tables; not measured
    by_dbt = _rows(settings, models)
    same = True
    for _ in range(int(sys.argv[1])):
        bares.append(_bare(settings, models))
        same = same and _rows(settings, models) == by_dbt
        seconds, models = _rebuild(settings)
        rebuilds.append(seconds)
    print(json.dumps({"dbt": rebuilds, "bare": bares, "rows": by_dbt, "same": same, "models": len(models)}))


def _rebuild(settings: Settings) -> tuple[float, list[Model]]:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    command = [
        "run", "--full-refresh", "--quiet", "--no-write-json", "--log-level-file", "none",
        "--project-dir", str(_DBT), "--profiles-dir", str(_DBT),
        "--target-path", str(settings.dbt_target), "--log-path", str(settings.dbt_target / "logs"),
    ]  # fmt: skip
    begun = time.perf_counter()
    try:
        outcome = dbtRunner().invoke(command)
    finally:
        DuckDBConnectionManager.close_all_connections()
    seconds = time.perf_counter() - begun
    if not outcome.success:
        raise SystemExit(f"dbt failed: {outcome.exception or outcome.result}")
    results: Any = outcome.result
    models = [
        Model(result.node.relation_name, result.node.config.materialized == "view", result.node.compiled_code)
        for result in results.results
    ]
    return seconds, models


def _bare(settings: Settings, models: list[Model]) -> float:
    """The seconds of the same statements in DuckDB without dbt, with the same limits."""
    begun = time.perf_counter()
    with duckdb.connect(str(settings.duckdb_path)) as connection:
        for name, value in _limits().items():  # like dbt; a config would be applied before the time zones are loaded
            connection.execute(f"set {name} = '{value}'")
        for model in models:
            kind = "view" if model.is_view else "table"
            connection.execute(f"create or replace {kind} {model.relation} as {model.sql}")
    return time.perf_counter() - begun


def _limits() -> dict[str, Any]:
    """The settings of dbt's own connection. Both use as many threads as there are cores."""
    profile = yaml.safe_load(Template((_DBT / "profiles.yml").read_text()).render(env_var=os.environ.get))
    return profile["audit"]["outputs"]["duckdb"]["settings"]


def _rows(settings: Settings, models: list[Model]) -> dict[str, int]:
    with duckdb.connect(str(settings.duckdb_path)) as connection:
        return {
            model.relation: connection.execute(f"select count(*) from {model.relation}").fetchall()[0][0]
            for model in models
        }


if __name__ == "__main__":
    main()
