"""The suite runs under faked clocks, and every process of a test has the same clock."""

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from audit_assets.settings import PROJECT_ROOT
from tools.suite_under_clock import CLOCKS, LIBRARIES, ClockError, faked_environment, fakes, main

TOOL = [sys.executable, str(PROJECT_ROOT / "tools/suite_under_clock.py")]

# Three processes: the test's own, a child that has slept, and a Postgres of another user.
_TESTS = """
import subprocess, sys
from datetime import datetime, timedelta, timezone
import psycopg2, psycopg2.errors, pytest
from audit_assets_tests.conftest import postgres

AT = datetime(2028, 2, 29, 22, 30, tzinfo=timezone.utc)

def test_every_process_has_the_clock(postgres):
    program = "import time; time.sleep(0.1); print(time.time())"
    child = float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    with psycopg2.connect(postgres) as connection, connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        ((at_source,),) = cursor.fetchall()
        cursor.execute("set statement_timeout = '200ms'")
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("select pg_sleep(60)")
    for now in (datetime.now(timezone.utc), datetime.fromtimestamp(child, timezone.utc), at_source):
        assert AT <= now < AT + timedelta(minutes=3)

def test_that_fails():
    assert False

def test_left_out():
    assert False
"""


def test_each_clock_is_at_the_moment_it_is_named_for():
    starts = {clock.name: clock.starts_at.astimezone(ZoneInfo(clock.time_zone)) for clock in CLOCKS}
    assert {name: f"{at:%A %d %B}" for name, at in starts.items()} == {
        "sunday": "Sunday 29 November",
        "monday": "Monday 30 November",
        "midnight": "Monday 30 November",
        "new-york-spring": "Sunday 14 March",
        "new-york-autumn": "Sunday 07 November",
        "berlin-spring": "Sunday 28 March",
        "berlin-autumn": "Sunday 31 October",
        "leap-day": "Tuesday 29 February",
    }
    soon = {name: (at.astimezone(UTC) + timedelta(minutes=3)).astimezone(at.tzinfo) for name, at in starts.items()}
    assert [name for name, at in starts.items() if at.date() != soon[name].date()] == ["midnight"]
    changing = [name for name, at in starts.items() if at.utcoffset() != soon[name].utcoffset()]
    assert changing == ["new-york-spring", "new-york-autumn", "berlin-spring", "berlin-autumn"]


def test_a_clock_is_faked_by_its_difference_so_that_no_process_begins_at_it_anew():
    (leap_day,) = (clock for clock in CLOCKS if clock.name == "leap-day")
    now = leap_day.starts_at + timedelta(days=1)
    assert faked_environment(leap_day, [Path("/a.so"), Path("/b.so")], now) == {
        "TZ": "UTC",
        "LD_PRELOAD": "/a.so:/b.so",
        "FAKETIME": "-86400.000",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


def test_without_the_package_the_message_names_it():
    with pytest.raises(ClockError, match="apt-get install faketime"), fakes(libraries=()):
        pass


@pytest.mark.parametrize("arguments", [["--clock", "noon"], ["--at", "2028-02-29T12:00:00"], ["--at", "soon"]])
def test_an_unknown_clock_and_an_instant_without_a_zone_are_refused(arguments: list[str]):
    with pytest.raises(SystemExit):
        main(arguments)


@pytest.mark.skipif(not (LIBRARIES and shutil.which("cc")), reason="Debian's faketime and gcc are not installed")
def test_every_process_of_a_test_has_the_clock_and_what_failed_is_listed(tmp_path: Path):
    (tmp_path / "test_run.py").write_text(_TESTS)
    began = time.monotonic()
    passed_on = [f"--rootdir={tmp_path}", "-c", "pyproject.toml", "-k", "not left_out"]
    command = [*TOOL, "--at", "2028-02-29T22:30:00Z", "--json", *passed_on, str(tmp_path / "test_run.py")]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["clock"], result["starts_at"], result["exit_code"]) == ("at", "2028-02-29T22:30:00+00:00", 1)
    assert (result["tests"], result["failed"]) == (2, ["test_run::test_that_fails"])
    assert "[1/1] at: 2028-02-29T22:30:00+00:00, UTC" in done.stderr
    assert result["seconds"] <= time.monotonic() - began + 1
