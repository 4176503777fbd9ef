"""Fixtures for all tests: a real Postgres and an emulator of BigQuery per session, and a new source database per
test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count

import psycopg2
import pytest

from audit_assets.demo import postgres as embedded
from audit_assets.demo.process_guard import ProcessGuard
from tools.emulator.running import Emulator, EmulatorError, installed_python, running_emulator
from tools.leftover_processes import start_watcher, stop_watcher

_TEMPLATE = "empty_source"
# The folders with the longest files, which run first, so that no worker ends minutes after the others.
_FIRST = ("scenarios", "models", "warehouse", "defs", "alerting", "dashboards")
_numbers = count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Starts the watcher that ends all processes of the run with it, even if the run is killed. Workers of pytest-xdist
    are processes of the run."""
    if not hasattr(config, "workerinput"):
        watcher = start_watcher()
        config.add_cleanup(lambda: stop_watcher(watcher))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_position)


def _position(item: pytest.Item) -> int:
    return next((number for number, folder in enumerate(_FIRST) if folder in item.path.parts), len(_FIRST))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running Postgres with an empty source. Copy the database instead of writing to it."""
    folder, guard = tmp_path_factory.mktemp("postgres"), ProcessGuard()
    url = embedded.start(folder)
    try:
        running = embedded.status(folder)
        assert running is not None
        guard.add(running.pid)  # in some containers root may not read the environment of another user's process
        _administer(url, f"create database {_TEMPLATE} template app")
        yield url
    finally:
        embedded.remove(folder)
        guard.close()


@pytest.fixture
def source(postgres: str) -> Iterator[str]:
    """The URL of a separate database for this test, with the source's empty tables."""
    name = f"source_{next(_numbers)}"
    _administer(postgres, f"create database {name} template {_TEMPLATE}")
    try:
        yield postgres.replace("/app?", f"/{name}?")
    finally:
        _administer(postgres, f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator of BigQuery. If it cannot be installed, tests that need it are skipped with the reason."""
    try:
        installed_python()
    except EmulatorError as error:
        pytest.skip(str(error))
    with running_emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


def _administer(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url.replace("/app?", "/postgres?"))) as connection:
        connection.autocommit = True  # databases are created and dropped outside of transactions
        with connection.cursor() as cursor:
            cursor.execute(statement)
