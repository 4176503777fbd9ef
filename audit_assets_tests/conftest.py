"""What every test may ask for: a real Postgres and an emulator of BigQuery for the session, a fresh source database for
each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count

import psycopg2
import pytest

from audit_assets.simulate import postgres as embedded
from audit_assets_tests.emulator.running import Emulator, EmulatorError, installed_python, running_emulator

_TEMPLATE = "empty_source"
_numbers = count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running Postgres with an empty source in it. Copy from it rather than writing to it."""
    folder = tmp_path_factory.mktemp("postgres")
    url = embedded.start(folder)
    try:
        _administer(url, f"create database {_TEMPLATE} template app")
        yield url
    finally:
        embedded.remove(folder)


@pytest.fixture
def source(postgres: str) -> Iterator[str]:
    """The URL of a database of this test's own, with the source's empty tables."""
    name = f"source_{next(_numbers)}"
    _administer(postgres, f"create database {name} template {_TEMPLATE}")
    try:
        yield postgres.replace("/app?", f"/{name}?")
    finally:
        _administer(postgres, f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator of BigQuery. Tests that want it are skipped, and say so, where it cannot be installed."""
    try:
        installed_python()
    except EmulatorError as error:
        pytest.skip(str(error))
    with running_emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


def _administer(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url.replace("/app?", "/postgres?"))) as connection:
        connection.autocommit = True  # databases are made and dropped outside transactions
        with connection.cursor() as cursor:
            cursor.execute(statement)
