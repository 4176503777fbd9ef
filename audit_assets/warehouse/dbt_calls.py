"""What every call of dbt in this process needs: its project, its window in the environment, and its hold let go."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from audit_assets.settings import PROJECT_ROOT, Settings

DBT_FOLDER = PROJECT_ROOT / "dbt"

QUIET = ("--log-level-file", "none", "--quiet", "--no-use-colors")


def places(target: Path, engine: str = "duckdb") -> list[str]:
    """The arguments that say where the project is, for which engine, and that what dbt writes goes to `target`."""
    return [
        "--target", engine,
        "--project-dir", str(DBT_FOLDER), "--profiles-dir", str(DBT_FOLDER),
        "--target-path", str(target), "--log-path", str(target / "logs"),
    ]  # fmt: skip


def profile_environment(settings: Settings) -> dict[str, str]:
    """What dbt/profiles.yml reads: where the warehouse is. The same when parsing and when building, or dbt would parse
    all of it once more."""
    return {
        "AI_AUDIT_DUCKDB_PATH": str(settings.duckdb_path),
        "AI_AUDIT_BIGQUERY_PROJECT": settings.bigquery_project,
        "AI_AUDIT_BIGQUERY_DATASET": settings.bigquery_dataset,
        "AI_AUDIT_BIGQUERY_LOCATION": settings.bigquery_location,
        "AI_AUDIT_BIGQUERY_ENDPOINT": settings.bigquery_endpoint or "",
    }


@contextmanager
def dbt_environment(values: Mapping[str, str]) -> Generator[None]:
    """`values` in os.environ while the block runs: dbt reads its window there, so that no change of it re-parses."""
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


def let_go_of_the_warehouse() -> None:
    """dbt-duckdb keeps its connection, and with it the file's lock, for the life of the process."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()
