"""Test homes: local folders with the state of a whole pipeline, for tests that start after a build.

One home is built per session (20 days, 600 rows per day, through Dagster). A test that writes gets a copy of the home
and of its source. Import the fixtures in the conftest.py of a folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from audit_assets.clock import Clock
from audit_assets.defs.runner import BuildOutcome, prepare_instance, run_build
from audit_assets.demo.server_process import free_port
from audit_assets.demo.traffic import first_instant, traffic
from audit_assets.demo.writing import write, write_population
from audit_assets.settings import Settings, read_settings
from audit_assets.warehouse.snapshot import open_snapshot

if TYPE_CHECKING:
    from dagster import DagsterInstance, Definitions

# A fixed Wednesday noon in the past, far from midnight, a weekend and a clock change.
NOW = datetime(2026, 2, 18, 12, 0, tzinfo=UTC)

DAYS = 20
ROWS_PER_DAY = 600  # with half as many rows, the last hours have no spike in one of ten random seeds
SEED = 7

# The asset checks that are neither rules nor dbt tests.
DATA_QUALITY = {"calls_are_logged_once", "status_words_are_listed", "values_are_usable"}
SYNC_CHECKS = {"state_mirror_is_current", "ids_are_unique", *DATA_QUALITY}

_numbers = count(1)


@dataclass(frozen=True)
class Home:
    """A local folder, its source's URL and its Dagster URL. `now` (UTC) is what its builds take as now; None stands for
    the real clock."""

    folder: Path
    source_url: str | None
    dagster_url: str
    more: tuple[tuple[str, str], ...] = ()
    now: datetime | None = NOW

    def clock(self) -> Clock:
        return Clock(self.now)

    def now_option(self) -> list[str]:
        """The option that makes a command use the home's now."""
        return [] if self.now is None else ["--now", self.now.isoformat()]

    def resources(self) -> dict[str, Any]:
        """The run config that makes a run use the home's now."""
        return resources_at(self.now)

    def environment(self) -> dict[str, str]:
        """The environment variables of this home."""
        names = {
            "AI_AUDIT_HOME": str(self.folder),
            "AI_AUDIT_STATE_FILE": str(self.folder / "state.json"),
            "AI_AUDIT_DAGSTER_URL": self.dagster_url,
            "DAGSTER_HOME": str(self.folder / "dagster"),
            **dict(self.more),
        }
        return names if self.source_url is None else {**names, "AI_AUDIT_SOURCE_URL": self.source_url}

    def process_environment(self) -> dict[str, str]:
        """The environment of a child process: the current one without settings of other homes, and this home's."""
        return {**_others(os.environ), **self.environment()}

    def settings(self) -> Settings:
        """The settings of the current process, whose environment must point to this home."""
        settings = read_settings(env_file=None)
        assert settings.home == self.folder
        return settings

    def build(self, first: date | None = None, last: date | None = None, mode: Any = "delta") -> BuildOutcome:
        """Runs the sync job once in this process, by default over today."""
        today = self.clock().today()
        prepare_instance(self.settings())
        return run_build(definitions(), first or today, last or first or today, mode, self.now)

    def execute(self, statement: str, values: Any = None) -> None:
        """Executes a statement at the source."""
        with closing(psycopg2.connect(self.source_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, values)

    def query(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query at the source."""
        with closing(psycopg2.connect(self.source_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def insert(self, rows: int, at: datetime | None = None, prefix: str = "new") -> None:
        """Inserts `rows` interactions of the capability `summarise`, all at one instant (UTC)."""
        self.execute(
            """insert into ai_audit_logs select %s || n, 'w' || n %% 5, 'summarise', 'openai', %s,
                '{"prompt": "x"}', '{"status": "success", "durationMs": 12}' from generate_series(1, %s) n""",
            (prefix, at or self.clock()(), rows),
        )

    def query_snapshot(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the published snapshot."""
        with open_snapshot(self.folder / "published") as connection:
            return connection.execute(query).fetchall()


def settings_of(variables: Mapping[str, object]) -> Settings:
    """The settings of these variables and of the process's environment. Reads no file."""
    return Settings(_env_file=None, **variables)  # type: ignore[call-arg]


def resources_at(now: datetime | None) -> dict[str, Any]:
    """The run config that makes a run take `now` (UTC) as now; None stands for the real clock."""
    return {"clock": {"config": {"fixed_now": now.isoformat() if now else None}}}


def definitions() -> Definitions:
    """The Dagster definitions of the home that the environment points to."""
    from audit_assets.definitions import build_definitions

    return build_definitions(read_settings(env_file=None))


def resources(now: datetime = NOW) -> dict[str, Any]:
    """The Dagster resources of that home, with a clock fixed at `now` (UTC)."""
    from audit_assets.defs.resources import RunClock, build_resources

    return {**build_resources(read_settings(env_file=None)), "clock": RunClock(fixed_now=now.isoformat())}


def tick_sensor(
    name: str, instance: DagsterInstance | None = None, cursor: datetime | None = None, now: datetime = NOW
) -> Any:
    """The result of a sensor of that home at `now` (UTC). `cursor` is when it last requested a run."""
    from dagster import build_sensor_context

    sensor = definitions().resolve_sensor_def(name)
    last = cursor.isoformat() if cursor else None
    available = {key: value for key, value in resources(now).items() if key in sensor.required_resource_keys}
    with build_sensor_context(instance=instance, cursor=last, resources=available) as context:
        return sensor(context)


@cache
def _build(postgres_url: str, folder: Path) -> Home:
    _administer(postgres_url, "create database built template empty_source")
    home = Home(folder, postgres_url.replace("/app?", "/built?"), f"http://localhost:{free_port()}")
    assert home.source_url is not None
    write_population(home.source_url, SEED, first_instant(NOW, DAYS), NOW)
    write(home.source_url, traffic(SEED, NOW, DAYS, ROWS_PER_DAY), lambda _: None)
    with _inside(home):
        outcome = home.build(NOW.date() - timedelta(days=DAYS - 1), NOW.date())
    assert outcome.succeeded, outcome.failure
    return home


@pytest.fixture(scope="session")
def built(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The session's built home, read only. The process's environment does not point to it: see `built_home`."""
    return _build(postgres, tmp_path_factory.getbasetemp() / "built")


@pytest.fixture
def built_home(built: Home) -> Iterator[Home]:
    """The session's built home, read only. The process's environment points to it."""
    with _inside(built):
        yield built


@pytest.fixture
def home(built: Home, postgres: str, tmp_path: Path) -> Iterator[Home]:
    """A copy of the built home and of its source for this test. The process's environment points to it."""
    with copy_home(built, postgres, tmp_path) as own:
        yield own


@contextmanager
def copy_home(built: Home, postgres_url: str, folder: Path) -> Generator[Home]:
    """Yields a copy of a built home and of its source in `folder`. The process's environment points to it."""
    shutil.copytree(built.folder, folder / "home", ignore=shutil.ignore_patterns("*.lock", "*.log"))
    with bare_home(postgres_url, folder, template="built") as own:
        yield own


@contextmanager
def bare_home(postgres_url: str, folder: Path, template: str = "empty_source") -> Generator[Home]:
    """Yields a home in `folder`, empty if the folder is, over a separate copy of the database `template`. The process's
    environment points to it."""
    name = f"home_{next(_numbers)}"
    _administer(postgres_url, f"create database {name} template {template}")
    own = Home(folder / "home", postgres_url.replace("/app?", f"/{name}?"), f"http://localhost:{free_port()}")
    try:
        with _inside(own):
            yield own
    finally:
        _administer(postgres_url, f"drop database {name} with (force)")


@pytest.fixture
def empty_home(source: str, tmp_path: Path) -> Iterator[Home]:
    """An empty home over an empty source. The process's environment points to it."""
    own = Home(tmp_path / "home", source, f"http://localhost:{free_port()}")
    with _inside(own):
        yield own


@contextmanager
def _inside(home: Home) -> Generator[None]:
    """Sets os.environ to the home's variables while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(_others(os.environ)):
            patch.delenv(name)
        for name, value in home.environment().items():
            patch.setenv(name, value)
        yield


def _others(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the project's own settings."""
    return {name: value for name, value in environment.items() if not name.startswith(("AI_AUDIT_", "DAGSTER_HOME"))}


def _administer(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url.replace("/app?", "/postgres?"))) as connection:
        connection.autocommit = True  # databases are created and dropped outside of transactions
        with connection.cursor() as cursor:
            cursor.execute(statement)
