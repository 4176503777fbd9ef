"""What every dbt call in this process needs: its arguments, its environment, and releasing the warehouse."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from audit_assets.settings import PROJECT_ROOT, Settings
from audit_assets.warehouse.duckdb.memory import duckdb_memory

DBT_FOLDER = PROJECT_ROOT / "dbt"

QUIET = ("--log-level-file", "none", "--quiet", "--no-use-colors")


def dbt_arguments(target: Path, engine: str = "duckdb") -> list[str]:
    """dbt's arguments for the project, the engine and the folder `target` for what dbt writes."""
    return [
        "--target", engine,
        "--project-dir", str(DBT_FOLDER), "--profiles-dir", str(DBT_FOLDER),
        "--target-path", str(target), "--log-path", str(target / "logs"),
    ]  # fmt: skip


def profile_environment(settings: Settings) -> dict[str, str]:
    """The environment that dbt/profiles.yml reads: where the warehouse is. It must be the same for parsing and
    building, or dbt parses the whole project again."""
    return {
        "AI_AUDIT_DUCKDB_PATH": str(settings.duckdb_path),
        "AI_AUDIT_DUCKDB_MEMORY": duckdb_memory(settings.duckdb_memory),
        "AI_AUDIT_BIGQUERY_PROJECT": settings.bigquery_project,
        "AI_AUDIT_BIGQUERY_DATASET": settings.bigquery_dataset,
        "AI_AUDIT_BIGQUERY_LOCATION": settings.bigquery_location,
        "AI_AUDIT_BIGQUERY_ENDPOINT": settings.bigquery_endpoint or "",
    }


@contextmanager
def dbt_environment(values: Mapping[str, str]) -> Generator[None]:
    """Sets `values` in os.environ while the block runs. dbt reads its window there, so a new one needs no new parse."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def release_warehouse() -> None:
    """Closes dbt-duckdb's connection, which otherwise keeps the file's lock for the life of the process."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()
