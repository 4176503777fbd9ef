"""A ledger of an earlier version, on SQLite and on Postgres, is upgraded when it is opened, and keeps its rows."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, update

from audit_assets.alerting.ledger import migrations
from audit_assets.alerting.ledger.migrations import HEAD, VERSION
from audit_assets.alerting.ledger.tables import alerts, open_ledger
from audit_assets_tests.alerting.ledger_factories import NOON, Book, episode, rule_result

pytestmark = pytest.mark.requirement("R45")

LATER = (
    "alter table ai_audit_alerts drop column acknowledged_at",
    "alter table ai_audit_alerts drop column acknowledged_by",
    "alter table ai_audit_alerts drop column acknowledgement_asked_at",
    "alter table ai_audit_alert_evaluations drop column facts_version",
    "alter table ai_audit_alert_deliveries drop column look_after",
    "drop table ai_audit_remediations",
)
WITHOUT_REVISION = f"drop table {VERSION.name}"

OPEN_ON_SIGNAL = """
import sys
from audit_assets.alerting.ledger.tables import open_ledger
print("ready", flush=True)
sys.stdin.readline()
open_ledger(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def downgrade_schema(url: str) -> None:
    """Changes the ledger at `url` to the schema of the first version."""
    execute(url, *LATER, WITHOUT_REVISION)


def revision(url: str) -> str | None:
    """The revision of the ledger at `url`, as alembic reads it."""
    with open_ledger(url) as ledger, ledger.transaction() as connection:
        return MigrationContext.configure(connection, opts={"version_table": VERSION.name}).get_current_revision()


def differences(url: str) -> list[object]:
    """Differences between the ledger at `url` and the tables in the code, as alembic finds them."""
    tables = alerts.metadata
    with open_ledger(url) as ledger, ledger.transaction() as connection:

        def is_ours(name: str | None, kind: str, _: object) -> bool:
            return kind != "table" or name in tables.tables

        names = {"version_table": VERSION.name, "include_name": is_ours}
        return compare_metadata(MigrationContext.configure(connection, opts=names), tables)


def open_at_once(url: str, processes: int = 4) -> list[str]:
    """Opens the ledger in several processes at the same time. Returns what each printed; fails if one fails."""
    command = [sys.executable, "-c", OPEN_ON_SIGNAL, url]
    opening = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in opening:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in opening:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=60)[0].strip() for process in opening]
    assert [process.returncode for process in opening] == [0] * processes
    return printed


def test_an_older_ledger_opens_and_keeps_its_rows(ledger_url: str):
    with open_ledger(ledger_url) as ledger:
        Book(ledger).record(rule_result(episode("chat"), episode("search")))
        before = Book(ledger).rows("alerts")
    downgrade_schema(ledger_url)
    for _ in range(2):  # the second time there is nothing to add
        with open_ledger(ledger_url) as ledger:
            book = Book(ledger)
            assert book.rows("alerts") == before
            assert {row.acknowledged_at for row in book.rows("alerts")} == {None}
    with open_ledger(ledger_url) as ledger:
        Book(ledger).record(rule_result(at=NOON + timedelta(hours=1)), now=NOON + timedelta(hours=1))
        assert Book(ledger).open() == []


@pytest.mark.parametrize("earlier", [*LATER, "select 1"])
def test_a_ledger_that_lacks_one_part_gets_it(ledger_url: str, earlier: str):
    open_ledger(ledger_url).close()
    execute(ledger_url, earlier, WITHOUT_REVISION)
    assert differences(ledger_url) == []
    assert revision(ledger_url) == HEAD


def test_new_and_upgraded_ledgers_equal_the_tables(ledger_url: str):
    assert differences(ledger_url) == []
    downgrade_schema(ledger_url)
    assert differences(ledger_url) == []
    assert revision(ledger_url) == HEAD


def test_head_is_the_newest_revision():
    config = Config()
    config.set_main_option("script_location", f"{migrations.__name__}:.")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_ledger_of_a_newer_version_is_left_as_it_is(ledger_url: str):
    with open_ledger(ledger_url) as ledger, ledger.transaction() as connection:
        connection.execute(update(VERSION).values(version_num="9999"))
    assert revision(ledger_url) == "9999"


@pytest.mark.parametrize("is_older", [False, True], ids=["new", "older"])
def test_processes_that_open_a_ledger_at_once_upgrade_it_once(ledger_url: str, is_older: bool):
    if is_older:
        open_ledger(ledger_url).close()
        downgrade_schema(ledger_url)
    open_at_once(ledger_url)
    assert differences(ledger_url) == []
    assert revision(ledger_url) == HEAD


def test_alembic_is_imported_only_for_an_upgrade(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'alerts.db'}"
    assert open_at_once(url, 1) == ["False"]
    assert open_at_once(url, 1) == ["False"]
    downgrade_schema(url)
    assert open_at_once(url, 1) == ["True"]
