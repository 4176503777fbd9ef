"""The models on a real DuckDB file, with rows as the sync writes them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest

from audit_assets.ingest.policy import Statuses
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.schema import WORKSPACE_COLUMNS
from audit_assets_tests.untyped import pa

DBT_FOLDER = PROJECT_ROOT / "dbt"
NOW = "2026-11-05T12:07:00Z"


@dataclass(frozen=True)
class Row:
    """A row of raw ai_audit_logs, as the sync writes it."""

    id: str
    created_at: str
    workflow_id: str | None = "w1"
    capability: str | None = "summarise"
    provider: str | None = "openai"
    status: str | None = "success"
    error_flag: bool | None = None
    duration_ms: str | None = "100"
    model: str | None = None
    model_parameters: str | None = None
    completion_id: str | None = None
    prompt_tokens: str | None = None
    completion_tokens: str | None = None
    source_documents: str | None = None
    snapshot_id: str | None = None
    drill_id: str | None = None
    prompt_length: int | None = None
    row_hash: str = "hash"
    synced_at: str = "2026-11-05 12:00:00+00"


COLUMNS = tuple(field.name for field in fields(Row))
TYPES = {
    "created_at": "timestamptz",
    "synced_at": "timestamptz",
    "error_flag": "boolean",
    "prompt_length": "bigint",
}
ARROW: Any = pa.schema(
    [(name, {"boolean": pa.bool_(), "bigint": pa.int64()}.get(TYPES.get(name, ""), pa.string())) for name in COLUMNS]
)
OTHER_SOURCES = ("ai_audit_sync_state", "ai_audit_rejects", "ai_audit_repair_diff", "ai_audit_days")


class BuildFailedError(AssertionError):
    """A dbt command that failed, with the messages of its nodes."""


class Models:
    """A DuckDB file with the project built into it. dbt is configured by the environment, as in production."""

    target = "duckdb"
    statuses = Statuses()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.duckdb_path = folder / "warehouse.duckdb"
        self.marts: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of the warehouse."""
        return {"AI_AUDIT_DUCKDB_PATH": str(self.duckdb_path)}

    def clear(self) -> None:
        self.duckdb_path.unlink(missing_ok=True)
        columns = ", ".join(f"{name} {TYPES.get(name, 'varchar')}" for name in COLUMNS)
        with self._connect() as connection:
            connection.execute("create schema analytics")
            connection.execute(f"create table analytics.ai_audit_logs ({columns})")
            workspaces = ", ".join(f"{name} {kind}" for name, kind in WORKSPACE_COLUMNS.items())
            connection.execute(f"create table analytics.ai_audit_workspaces ({workspaces})")
            for table in OTHER_SOURCES:
                connection.execute(f"create table analytics.{table} (placeholder varchar)")

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(str(self.duckdb_path))
        connection.execute("set TimeZone = 'UTC'")
        return connection

    def load(self, rows: Sequence[Row]) -> None:
        """Upserts the rows by id."""
        arrow = pa.Table.from_pylist([asdict(row) for row in rows], schema=ARROW)
        with self._connect() as connection:
            connection.register("arrived", arrow)
            connection.execute("delete from analytics.ai_audit_logs where id in (select id from arrived)")
            connection.execute("insert into analytics.ai_audit_logs by name select * from arrived")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connect() as connection:
            connection.execute("use analytics")
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        self.query(sql)

    def append(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Inserts the rows into a table of the schema."""
        arrived = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
        with self._connect() as connection:
            connection.register("arrived", arrived)
            connection.execute(f"insert into analytics.{table} by name select * from arrived")

    def run(self, *arguments: str, days: str | None = None, now: str | None = NOW) -> list[Any]:
        """Runs a dbt command in this process. Returns its node results. Raises BuildFailedError with what failed."""
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        environment = {
            **self.settings,
            **self.statuses.environment(),
            "DBT_TARGET_PATH": str(self.folder / "target"),
            "DBT_LOG_PATH": str(self.folder / "logs"),
            "DBT_PROJECT_DIR": str(DBT_FOLDER),
            "DBT_PROFILES_DIR": str(DBT_FOLDER),
            "AI_AUDIT_BUILD_DAYS": days,
            "AI_AUDIT_BUILD_NOW": now,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                if value is None:
                    patch.delenv(name, raising=False)
                else:
                    patch.setenv(name, value)
            try:
                outcome = dbtRunner().invoke([*arguments, "--target", self.target, "--quiet"])
            finally:
                DuckDBConnectionManager.close_all_connections()
        results = list(getattr(outcome.result, "results", []) or [])
        failed = [f"{r.node.name}: {r.message}" for r in results if str(r.status) in ("error", "fail")]
        if not outcome.success:
            raise BuildFailedError("; ".join(failed) or str(outcome.exception))
        return results

    def build(self, days: str, now: str = NOW, tests: bool = False) -> None:
        """Builds `marts` and the models that they read, or every model, for these days. With `tests` also the data
        tests."""
        self.run("build", *self._selected(tests), days=days, now=now)

    def rebuild(self, now: str = NOW, tests: bool = False) -> None:
        """Builds the same models over the whole history."""
        self.run("build", "--full-refresh", *self._selected(tests), now=now)

    def _selected(self, tests: bool) -> list[str]:
        chosen = ["--select", *(f"+{mart}" for mart in self.marts), "--indirect-selection", "cautious"]
        return (chosen if self.marts else []) + _excluded(tests)

    def table(self, name: str) -> list[tuple[Any, ...]]:
        """Every row of a table, sorted."""
        return self.query(f"select * from {name} order by all")


def _excluded(tests: bool) -> list[str]:
    kinds = ["unit_test", "exposure"] + ([] if tests else ["test"])
    return [argument for kind in kinds for argument in ("--exclude-resource-type", kind)]


@pytest.fixture(scope="session")
def shared_models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Models with one target folder for all tests, so that the project is parsed once."""
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def models(shared_models: Models, request: pytest.FixtureRequest) -> Models:
    """The models over an empty raw table, in a fresh DuckDB file. A test module can name the `MARTS` that it reads, so
    that only these are built, with what they read."""
    shared_models.clear()
    shared_models.marts = getattr(cast("object", request.module), "MARTS", ())
    return shared_models


def rows_of_day(day: str, count: int, **fields_of_row: Any) -> list[Row]:
    """`count` rows, one per second from 09:00 UTC of the day, with ids from day and capability."""
    name = fields_of_row.get("capability", "summarise")
    return [
        Row(id=f"{name}-{day}-{n}", created_at=f"{day} 09:{n // 60 % 60:02}:{n % 60:02}+00", **fields_of_row)
        for n in range(count)
    ]
