"""What every call of dbt in this process needs: its project, its window in the environment, and its hold let go."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from audit_assets.settings import PROJECT_ROOT

DBT_FOLDER = PROJECT_ROOT / "dbt"

QUIET = ("--log-level-file", "none", "--quiet", "--no-use-colors")


def places(target: Path) -> list[str]:
    """The arguments that say where the project is, and that what dbt writes goes to `target`."""
    return [
        "--project-dir", str(DBT_FOLDER), "--profiles-dir", str(DBT_FOLDER),
        "--target-path", str(target), "--log-path", str(target / "logs"),
    ]  # fmt: skip


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
