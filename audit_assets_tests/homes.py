"""Local folders with a whole pipeline's state in them, for tests that begin where a build has ended.

One home is built a session (20 days, 600 rows a day, through Dagster); a test that writes gets a copy of it and of its
source. Import the fixtures into a folder's conftest.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from audit_assets.cli.headless import BuildOutcome, prepare_instance, run_build
from audit_assets.settings import Settings, read_settings
from audit_assets.simulate.server_process import free_port
from audit_assets.simulate.traffic import first_instant, traffic
from audit_assets.simulate.writing import write, write_world
from audit_assets.warehouse.snapshot import open_snapshot

DAYS = 20
ROWS_PER_DAY = 600  # at half of that, chance leaves the last hours without their spike one time in ten
SEED = 7

_numbers = count(1)


@dataclass(frozen=True)
class Home:
    """A local folder, its source's URL and the address its Dagster would serve on."""

    folder: Path
    source_url: str | None
    dagster_url: str
    more: tuple[tuple[str, str], ...] = ()

    def environment(self) -> dict[str, str]:
        """What a process needs to live in this home, and in no other."""
        names = {
            "AI_AUDIT_HOME": str(self.folder),
            "AI_AUDIT_STATE_FILE": str(self.folder / "state.json"),
            "AI_AUDIT_DAGSTER_URL": self.dagster_url,
            "DAGSTER_HOME": str(self.folder / "dagster"),
            **dict(self.more),
        }
        return names if self.source_url is None else {**names, "AI_AUDIT_SOURCE_URL": self.source_url}

    def whole_environment(self) -> dict[str, str]:
        """The same for a child process: ours, without settings of other homes."""
        return {**_others(os.environ), **self.environment()}

    def settings(self) -> Settings:
        """The settings of the process, which must live in this home."""
        settings = read_settings(env_file=None)
        assert settings.home == self.folder
        return settings

    def build(self, first: date | None = None, last: date | None = None, mode: Any = "delta") -> BuildOutcome:
        """One run of the sync job in this process, over today unless told otherwise."""
        today = datetime.now(UTC).date()
        prepare_instance(self.settings())
        return run_build(self.settings(), first or today, last or first or today, mode)

    def tell(self, statement: str, values: Any = None) -> None:
        with closing(psycopg2.connect(self.source_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, values)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.source_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def insert(self, rows: int, at: datetime | None = None, prefix: str = "new") -> None:
        """`rows` interactions of the capability `summarise`, all at one instant."""
        self.tell(
            """insert into ai_audit_logs select %s || n, 'w' || n %% 5, 'summarise', 'openai', %s,
                '{"prompt": "x"}', '{"status": "success", "durationMs": 12}' from generate_series(1, %s) n""",
            (prefix, at or datetime.now(UTC), rows),
        )

    def published(self, query: str) -> list[tuple[Any, ...]]:
        with open_snapshot(self.folder / "published") as connection:
            return connection.execute(query).fetchall()


@cache
def _build(postgres_url: str, folder: Path) -> Home:
    _administer(postgres_url, "create database built template empty_source")
    home = Home(folder, postgres_url.replace("/app?", "/built?"), f"http://localhost:{free_port()}")
    now = datetime.now(UTC)
    assert home.source_url is not None
    write_world(home.source_url, SEED, first_instant(now, DAYS), now)
    write(home.source_url, traffic(SEED, now, DAYS, ROWS_PER_DAY), lambda _: None)
    with _inside(home):
        outcome = home.build(now.date() - timedelta(days=DAYS - 1), now.date())
    assert outcome.succeeded, outcome.failure
    return home


@pytest.fixture(scope="session")
def built(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The session's built home. To be read only, and not from this process's environment: see `built_home`."""
    return _build(postgres, tmp_path_factory.getbasetemp() / "built")


@pytest.fixture
def built_home(built: Home) -> Iterator[Home]:
    """The session's built home, to be read only; the process's environment leads there."""
    with _inside(built):
        yield built


@pytest.fixture
def home(built: Home, postgres: str, tmp_path: Path) -> Iterator[Home]:
    """A copy of the built home and of its source, of this test's own; the process's environment leads there."""
    with copy_of(built, postgres, tmp_path) as own:
        yield own


@contextmanager
def copy_of(built: Home, postgres_url: str, folder: Path) -> Iterator[Home]:
    """A copy of a built home and of its source in `folder`; the process's environment leads there."""
    name = f"home_{next(_numbers)}"
    _administer(postgres_url, f"create database {name} template built")
    shutil.copytree(built.folder, folder / "home", ignore=shutil.ignore_patterns("*.lock", "*.log"))
    own = Home(folder / "home", postgres_url.replace("/app?", f"/{name}?"), f"http://localhost:{free_port()}")
    try:
        with _inside(own):
            yield own
    finally:
        _administer(postgres_url, f"drop database {name} with (force)")


@contextmanager
def bare_home(postgres_url: str, folder: Path) -> Iterator[Home]:
    """A home in `folder` in which nothing has happened, over an empty source of its own."""
    name = f"bare_{next(_numbers)}"
    _administer(postgres_url, f"create database {name} template empty_source")
    own = Home(folder / "home", postgres_url.replace("/app?", f"/{name}?"), f"http://localhost:{free_port()}")
    try:
        with _inside(own):
            yield own
    finally:
        _administer(postgres_url, f"drop database {name} with (force)")


@pytest.fixture
def empty_home(source: str, tmp_path: Path) -> Iterator[Home]:
    """A home in which nothing has happened, over an empty source; the process's environment leads there."""
    own = Home(tmp_path / "home", source, f"http://localhost:{free_port()}")
    with _inside(own):
        yield own


@contextmanager
def _inside(home: Home) -> Iterator[None]:
    """os.environ as the home wants it, while the block runs."""
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
        connection.autocommit = True  # databases are made and dropped outside transactions
        with connection.cursor() as cursor:
            cursor.execute(statement)
