"""Failed checks and failed runs, from Dagster's records to an episode that opens once and closes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster
import pytest
import yaml
from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    MetadataValue,
    RunsFilter,
    asset,
    asset_check,
    materialize,
    op,
)
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
from dagster._core.test_utils import instance_for_test
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import should_retry

from audit_assets.defs.liveness import RETRIES
from audit_assets.defs.runner import DAGSTER_YAML
from audit_assets.rules.judge import judge
from audit_assets.rules.model import RuleSet
from audit_assets_tests.alerting.conftest import sqlite_book
from audit_assets_tests.alerting.ledger_factories import NOON, Book
from audit_assets_tests.rules.factories import CALENDAR, shipped

__all__ = ["sqlite_book"]

pytestmark = pytest.mark.requirement("R48")

RULES = RuleSet((shipped("check_failed"), shipped("run_failed")), ())
KEYS = {AssetCheckKey(AssetKey("ai_audit_daily"), name) for name in ("sums_agree", "grain", "mirror")}


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with instance_for_test(overrides=yaml.safe_load(DAGSTER_YAML)) as instance:
        yield instance


def evaluate(instance: DagsterInstance, failing: set[str], *days: str) -> None:
    """Runs the table and its checks once, over these days."""

    @asset(name="ai_audit_daily")
    def table() -> None: ...

    def check(name: str) -> Any:
        @asset_check(asset=table, name=name)
        def checked() -> AssetCheckResult:
            severity = AssetCheckSeverity.WARN if name == "mirror" else AssetCheckSeverity.ERROR
            metadata = {"built_days": MetadataValue.json(list(days)), "dagster_dbt/failed_row_count": 7}
            return AssetCheckResult(passed=name not in failing, severity=severity, metadata=metadata)

        return checked

    assert materialize([table, *(check(key.name) for key in KEYS)], instance=instance).success


def run(instance: DagsterInstance, fails_at: str | None, mode: str = "delta", retry_of: str | None = None) -> str:
    """Runs the sync job once with two steps and the tags of its schedule. Returns the run's id. With `retry_of`, marks
    the retried run as Dagster's daemon does."""

    def step(name: str) -> Any:
        @op(name=name)
        def done() -> None:
            if name == fails_at:
                raise RuntimeError(name)

        return done

    retries = {} if mode == "delta" else RETRIES

    @dagster.job(name="audit_sync", tags={"audit/mode": mode, **retries})
    def audit_sync() -> None:
        for name in ("sync_ai_audit_logs", "models"):
            step(name)()

    run_id = audit_sync.execute_in_process(instance=instance, raise_on_error=False).run_id
    if retry_of:
        instance.add_run_tags(retry_of, {AUTO_RETRY_RUN_ID_TAG: run_id})
    return run_id


KILLED_IN_ITS_STEP = """
import os, signal, sys
from dagster import DagsterInstance, job, op
@op(name=sys.argv[1])
def killed():
    os.kill(os.getpid(), signal.SIGKILL)
@job(name="audit_sync", tags={"audit/mode": "delta"})
def audit_sync():
    killed()
with DagsterInstance.get() as instance:
    audit_sync.execute_in_process(instance=instance)
"""


def kill_run(instance: DagsterInstance, step: str) -> None:
    """Runs a job whose process is killed in `step`, and marks the run failed."""
    subprocess.run(
        [sys.executable, "-c", KILLED_IN_ITS_STEP, step],
        env={**os.environ, "DAGSTER_HOME": instance.root_directory}, check=False,
    )  # fmt: skip
    (started,) = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
    instance.report_run_failed(started, "its process ended unexpectedly")


def judged(book: Book, instance: DagsterInstance, minute: int, keys: set[AssetCheckKey] = KEYS) -> list[str]:
    """Judges the rules on Dagster's records. Returns the open episodes, as rule and asset or run."""
    from audit_assets.defs.pipeline import pipeline_facts

    book.rules, now = RULES, NOON + timedelta(minutes=minute)
    facts = pipeline_facts(instance, keys, "live", now, None)
    verdicts = [judge(rule, facts[rule.watch], now, CALENDAR) for rule in RULES.rules]
    book.record(*verdicts, now=now, version=minute)
    rows = [row for row in book.rows("alerts") if row.resolved_at is None]
    return sorted(f"{row.rule_id} {row.dimensions}" for row in rows)


def test_failing_checks_of_a_table_open_one_episode_and_it_closes_when_each_failing_day_has_passed(
    sqlite_book: Book, instance: DagsterInstance
):
    evaluate(instance, set(), "2026-11-24")
    assert judged(sqlite_book, instance, 0) == []
    evaluate(instance, {"sums_agree", "grain", "mirror"}, "2026-11-23", "2026-11-24")
    for minute in (1, 2, 3):
        assert judged(sqlite_book, instance, minute) == ['check_failed {"asset": "ai_audit_daily"}']
    assert sorted(action for action, _ in sqlite_book.outbox()) == ["post", "trigger"], "one message and one incident"
    evaluate(instance, {"mirror"}, "2026-11-24")
    assert judged(sqlite_book, instance, 4), "the day before still fails"
    evaluate(instance, {"mirror"}, "2026-11-23")
    assert judged(sqlite_book, instance, 5) == []


def test_a_check_that_is_declared_no_more_closes(sqlite_book: Book, instance: DagsterInstance):
    evaluate(instance, {"grain"}, "2026-11-24")
    assert judged(sqlite_book, instance, 1)
    assert judged(sqlite_book, instance, 2, set()) == []


def test_a_run_that_was_killed_in_the_sync_is_counted_as_a_failed_sync_alone(
    sqlite_book: Book, instance: DagsterInstance
):
    kill_run(instance, "sync_ai_audit_logs")
    assert judged(sqlite_book, instance, 0) == []
    kill_run(instance, "models")
    assert judged(sqlite_book, instance, 1) == ['run_failed {"run": "audit_sync delta"}']


def test_a_run_that_is_retried_pages_only_once_its_last_retry_has_failed(sqlite_book: Book, instance: DagsterInstance):
    first = run(instance, "models", mode="full")
    assert judged(sqlite_book, instance, 0) == [], "the daemon is about to retry it"
    second = run(instance, "models", mode="full", retry_of=first)
    assert judged(sqlite_book, instance, 1) == [], "and once more"
    last = run(instance, "models", mode="full", retry_of=second)
    instance.add_run_tags(last, {WILL_RETRY_TAG: "false"})
    assert judged(sqlite_book, instance, 2) == ['run_failed {"run": "audit_sync full"}']
    run(instance, None, mode="full")
    assert judged(sqlite_book, instance, 3) == []


def test_a_good_retry_opens_nothing_and_a_retry_that_never_begins_does(
    sqlite_book: Book, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    from audit_assets.defs import pipeline

    first = run(instance, "models", mode="full")
    run(instance, None, mode="full", retry_of=first)
    assert judged(sqlite_book, instance, 0) == []
    run(instance, "models", mode="days")
    assert judged(sqlite_book, instance, 1) == []
    monkeypatch.setattr(pipeline, "_RETRIED_WITHIN", timedelta(seconds=-1))  # as minutes later, with the daemon down
    assert judged(sqlite_book, instance, 2) == ['run_failed {"run": "audit_sync days"}']


def test_only_runs_that_come_seldom_are_retried(instance: DagsterInstance):
    for mode, retried in (("delta", False), ("full", True), ("days", True)):
        failed = instance.get_run_by_id(run(instance, "models", mode=mode))
        assert failed is not None
        assert should_retry(failed, instance) is retried


def test_a_run_that_fails_after_the_sync_opens_an_episode_until_one_of_its_kind_succeeds(
    sqlite_book: Book, instance: DagsterInstance
):
    run(instance, "sync_ai_audit_logs")
    assert judged(sqlite_book, instance, 0) == [], "sync_failed covers the sync"
    run(instance, "models")
    run(instance, "models")
    for minute in (1, 2):
        assert judged(sqlite_book, instance, minute) == ['run_failed {"run": "audit_sync delta"}']
    run(instance, None, mode="full")
    assert judged(sqlite_book, instance, 3), "a run of another kind does not close it"
    run(instance, None)
    assert judged(sqlite_book, instance, 4) == []
