"""A run whose process was killed: the sensor marks it failed and goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from audit_assets import named_lock
from audit_assets.defs.liveness import STARTS_WITHIN, hold_run_lock, reap_dead_runs, sweep_locks
from audit_assets.settings import Settings
from audit_assets_tests.defs.recording import create_run_for_test
from audit_assets_tests.environments import Home

pytestmark = pytest.mark.requirement("R15")

HOLD_AND_WAIT = """
import sys, time
from audit_assets.defs.liveness import hold_run_lock
from audit_assets.settings import read_settings
hold_run_lock(read_settings(env_file=None), sys.argv[1])
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def started(instance: DagsterInstance) -> str:
    return create_run_for_test(instance, job_name="audit_sync", status=DagsterRunStatus.STARTED).run_id


def living(instance: DagsterInstance, settings: Settings, now: datetime) -> list[str]:
    return [record.dagster_run.run_id for record in reap_dead_runs(instance, settings, instance.get_run_records(), now)]


def created_at(instance: DagsterInstance, run_id: str) -> datetime:
    """When Dagster took the run on record, by the machine's clock (UTC)."""
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    return record.create_timestamp


def status_of(instance: DagsterInstance, run_id: str) -> DagsterRunStatus:
    (run,) = instance.get_runs(RunsFilter(run_ids=[run_id]))
    return run.status


def test_a_killed_run_is_marked_failed_and_a_living_one_is_left_alone(empty_home: Home, instance: DagsterInstance):
    settings, killed = empty_home.settings(), started(instance)
    now = created_at(instance, killed)
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_WAIT, killed], env=empty_home.process_environment(), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"locked\n"
    assert living(instance, settings, now) == [killed]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert living(instance, settings, now) == []
    assert status_of(instance, killed) == DagsterRunStatus.FAILURE


def test_a_run_that_never_came_to_its_first_step_is_given_five_minutes(empty_home: Home, instance: DagsterInstance):
    settings, run_id = empty_home.settings(), started(instance)
    now = created_at(instance, run_id)
    assert living(instance, settings, now) == [run_id]
    assert living(instance, settings, now + STARTS_WITHIN + timedelta(seconds=1)) == []


def test_a_run_in_the_queue_is_not_dead_however_long_it_waits(empty_home: Home, instance: DagsterInstance):
    run_id = create_run_for_test(instance, job_name="audit_sync", status=DagsterRunStatus.NOT_STARTED).run_id
    now = created_at(instance, run_id) + timedelta(days=1)
    assert living(instance, empty_home.settings(), now) == [run_id]


def test_the_lock_of_a_run_is_never_seen_unlocked(empty_home: Home, monkeypatch: pytest.MonkeyPatch):
    """A sensor that sees it unlocked takes the run for dead, and its look would make the run fail to lock it."""
    path, lock = empty_home.settings().dagster_home / "alive" / "a run", named_lock.lock_descriptor
    seen: list[bool] = []

    def look_and_lock(descriptor: int, *, blocking: bool) -> bool:
        seen.append(path.exists())
        return lock(descriptor, blocking=blocking)

    monkeypatch.setattr(named_lock, "lock_descriptor", look_and_lock)
    hold_run_lock(empty_home.settings(), "a run")
    assert seen == [False]
    assert named_lock.is_locked(path)


def test_locks_of_ended_runs_are_swept(empty_home: Home, instance: DagsterInstance):
    settings = empty_home.settings()
    (Path(settings.dagster_home) / "alive").mkdir(parents=True)
    (settings.dagster_home / "alive" / "ended").touch()
    hold_run_lock(settings, "running")
    assert sweep_locks(settings) == 1
    assert [path.name for path in (settings.dagster_home / "alive").iterdir()] == ["running"]
