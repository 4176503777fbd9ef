"""An isolated environment for one measurement: a home, a separate Postgres, and the environment of its processes.

The user's own `.audit`, state file and settings are never read or written. Benchmarks without live rows take `NOW` as
now, so that their rows and their work are the same on every day of the week.
"""

import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dotenv import dotenv_values

from audit_assets.demo import postgres
from audit_assets.settings import PROJECT_ROOT
from benchmarks.figure import BenchmarkError

NOW = datetime(2026, 2, 18, 12, 0, tzinfo=UTC)  # a Wednesday
NOW_OPTION = ("--now", NOW.isoformat())  # the option of `audit` for it

# Prefixes of variables that could leak from the surrounding shell into a measurement.
_OURS = ("AI_AUDIT_", "DAGSTER_", "DBT_", "PG", "PYTEST_")


@dataclass(frozen=True)
class Home:
    """One AI_AUDIT_HOME below a temporary folder, and the source that its processes read (None: the embedded one)."""

    folder: Path
    source_url: str | None = None
    dagster_port: int | None = None
    policy_file: Path | None = None
    providers: Mapping[str, str] | None = None  # settings of notification providers; None: nothing is sent

    @property
    def duckdb_path(self) -> Path:
        return self.folder / "warehouse.duckdb"

    @property
    def lock_path(self) -> Path:
        return self.folder / "warehouse.duckdb.lock"

    @property
    def snapshot_folder(self) -> Path:
        return self.folder / "published"

    @property
    def dagster_home(self) -> Path:
        return self.folder / "dagster"

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a child process. Every setting is given, so that a `.env` file cannot add one."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        given |= {
            "AI_AUDIT_HOME": str(self.folder),
            "AI_AUDIT_DUCKDB_PATH": str(self.duckdb_path),
            "AI_AUDIT_STATE_FILE": str(self.state_file),
            "AI_AUDIT_SYNC_POLICY": str(self.policy_file or PROJECT_ROOT / "observability/sync.yaml"),
            "AI_AUDIT_RULES": str(PROJECT_ROOT / "observability/alerts/ai-audit"),
            "AI_AUDIT_WAREHOUSE_DESTINATION": "duckdb",
            "AI_AUDIT_ENV": "benchmark",
            "AI_AUDIT_SEND": "0",
            "DAGSTER_HOME": str(self.dagster_home),
        }
        if self.source_url is not None:
            given["AI_AUDIT_SOURCE_URL"] = self.source_url
        if self.dagster_port is not None:
            given["AI_AUDIT_DAGSTER_URL"] = f"http://localhost:{self.dagster_port}"
        return given | dict(self.providers or {})


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Yields a folder that is deleted afterwards, with anything that a killed child left in it."""
    folder = Path(tempfile.mkdtemp(prefix="audit-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def source(folder: Path) -> Generator[str]:
    """Starts a Postgres in `folder` with the source's empty tables and yields its URL; deletes it afterwards."""
    server_folder = folder / "source"
    try:
        yield postgres.start(server_folder, lambda _: None)
    finally:
        postgres.remove(server_folder)


def make_home(folder: Path, source_url: str | None = None) -> Home:
    folder.mkdir(parents=True)
    return Home(folder, source_url)


def refuse_configured_source() -> None:
    """Raises BenchmarkError if `.env` sets a source, because a benchmark that starts its own would fill that one."""
    if dotenv_values(PROJECT_ROOT / ".env").get("AI_AUDIT_SOURCE_URL"):
        raise BenchmarkError("AI_AUDIT_SOURCE_URL is set in .env: remove that line while the demo is measured")
