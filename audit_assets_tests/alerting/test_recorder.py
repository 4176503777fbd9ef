"""The effects of an evaluation on the ledger, on SQLite and on Postgres."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import permutations, product
from pathlib import Path

import polars as pl
import pytest

from audit_assets.alerting.ledger.store import delete_evaluations
from audit_assets.alerting.ledger.tables import LedgerError, open_ledger
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import judge
from audit_assets.rules.model import BrokenRule, RuleSet
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.alerting.ledger_factories import (
    NOON,
    OPS_CHANNEL,
    PAGER,
    QUARTER,
    RULES,
    Book,
    episode,
    failed,
    later,
    recovering,
    rule_result,
)
from audit_assets_tests.rules.factories import CALENDAR, shipped

pytestmark = pytest.mark.requirement("R41", "R45")


def test_an_episode_that_opens_is_one_alert_one_page_and_one_message(book: Book):
    recorded = book.record(rule_result(episode()))
    (row,) = book.rows("alerts")
    assert recorded.opened == 1
    assert row.key.startswith("ai-audit/live/volume_spike/")
    assert row.key.endswith("/1")
    assert (row.state, row.value, row.peak, row.delta_percent) == ("firing", 90.0, 90.0, 800.0)
    assert (row.since, row.opened_at, row.run_id) == (NOON - QUARTER, NOON, "run1")
    assert sorted(book.outbox()) == [("post", "pending"), ("trigger", "pending")]
    assert book.kinds() == ["opened"]


def test_the_same_facts_evaluated_again_change_nothing(book: Book):
    for _ in range(3):
        book.record(rule_result(episode()), now=NOON)
    assert len(book.rows("alerts")) == len(book.rows("evaluations")) == 1
    assert len(book.outbox()) == 2


def test_an_open_problem_is_notified_once_and_its_figures_are_updated(book: Book):
    book.record(rule_result(episode()))
    for step in range(1, 5):
        at = later(minutes=15 * step)
        book.record(rule_result(episode(value=90 + step, at=at, since=NOON - QUARTER), at=at), now=at)
    (row,) = book.rows("alerts")
    assert (row.value, row.window_end, row.as_of) == (94.0, later(hours=1), later(hours=1))
    assert len(book.outbox()) == 2
    assert book.kinds() == ["opened"]


def test_recovering_is_recorded_and_not_notified(book: Book):
    first = episode()
    book.record(rule_result(first))
    book.record(rule_result(recovering(first, later(minutes=15)), at=later(minutes=15)), now=later(minutes=15))
    assert book.rows("alerts")[0].state == "recovering"
    assert book.kinds() == ["opened", "recovering"]
    assert len(book.outbox()) == 2


def test_an_episode_that_cleared_before_it_was_sent_is_not_sent(book: Book):
    book.record(rule_result(episode()))
    book.record(rule_result(at=later(minutes=15)), now=later(minutes=15))
    (row,) = book.rows("alerts")
    assert (row.state, row.resolve_reason, row.resolved_at) == ("resolved", "cleared", later(minutes=15))
    assert {status for _, status in book.outbox()} == {"superseded"}


def test_the_next_episode_of_an_instance_has_a_key_of_its_own(book: Book):
    book.record(rule_result(episode()))
    book.record(rule_result(at=later(minutes=15)), now=later(minutes=15))
    book.record(rule_result(episode(at=later(hours=2)), at=later(hours=2)), now=later(hours=2))
    first, second = (row.key for row in book.rows("alerts"))
    assert (first[:-1], first[-1], second[-1]) == (second[:-1], "1", "2")


def test_an_episode_that_ended_and_began_again_between_two_evaluations_is_two(book: Book):
    book.record(rule_result(episode()))
    second = episode(at=later(hours=3), since=later(hours=2))
    book.record(rule_result(second, at=later(hours=3)), now=later(hours=3))
    assert [row.state for row in book.rows("alerts")] == ["resolved", "firing"]


def test_an_older_evaluation_is_kept_and_ignored(book: Book):
    book.record(rule_result(episode(at=later(hours=1)), at=later(hours=1)), now=later(hours=1))
    recorded = book.record(rule_result(at=NOON), now=later(hours=1), as_of=NOON)
    assert recorded.ignored == 1
    assert len(book.open()) == 1
    assert sorted(row.outcome for row in book.rows("evaluations")) == ["judged", "outdated"]


def test_newer_facts_of_the_same_time_are_evaluated_and_the_same_facts_are_a_replay(book: Book):
    """One run evaluates its rules between the sync and the models of another run: both know the source up to the same
    time."""
    assert book.record(rule_result(), version=1).opened == 0
    assert book.record(rule_result(episode()), version=2).opened == 1
    replayed = book.record(rule_result(episode()), version=2)
    assert (replayed.opened, replayed.ignored) == (0, 1)
    late = book.record(rule_result(), version=1)
    assert (late.resolved, late.ignored) == (0, 1), "the older facts of a run that was slow close nothing"
    assert book.record(rule_result(), version=3).resolved == 1
    assert len(book.rows("evaluations")) == 3


@pytest.mark.parametrize("fires", list(product((True, False), repeat=3))[1:-1])
def test_in_whatever_order_and_however_often_facts_are_evaluated_the_newest_win(
    book: Book, fires: tuple[bool, bool, bool]
):
    orders = [(*order, again) for order in permutations(range(3)) for again in range(3)]
    for number, order in enumerate(orders):
        for version in order:
            found = [episode(f"capability-{number}")] if fires[version] else []
            book.record(rule_result(*found), version=10 * number + version)
        assert len(book.open()) == fires[2], order
        book.record(rule_result(), version=10 * number + 5)


def test_two_concurrent_runs_leave_the_state_of_the_newer_facts(book: Book):
    for version in range(2, 20, 2):
        with ThreadPoolExecutor(2) as pool:
            older = pool.submit(book.record, rule_result(episode()), version=version)
            newer = pool.submit(book.record, rule_result(), version=version + 1)
            assert older.result().opened == newer.result().resolved
        assert book.open() == []


def test_a_rule_that_waited_for_another_is_evaluated_on_the_same_facts_afterwards(book: Book):
    waiting = replace(rule_result(episode()), not_ready=("freshness_slo",))
    assert book.record(waiting, version=1).opened == 0
    assert book.record(rule_result(episode()), version=1).opened == 1


def test_a_ledger_of_an_earlier_version_goes_by_what_its_facts_were_known_up_to(book: Book):
    book.record(rule_result(episode()))
    assert book.record(rule_result(at=later(minutes=-15)), version=1, as_of=later(minutes=-15)).ignored == 1
    assert book.record(rule_result(at=later(minutes=15)), version=2, now=later(minutes=15)).resolved == 1


@pytest.mark.requirement("R44")
def test_a_clock_that_jumped_ahead_and_came_back_does_not_silence_the_rules(book: Book):
    book.record(rule_result(at=later(hours=24)), failed("new_capability"), now=later(hours=24))
    book.record(failed("new_capability"), now=later(hours=25))
    assert book.record(rule_result(episode())).opened == 1
    assert book.record(rule_result(at=later(minutes=15)), now=later(minutes=16)).resolved == 1
    assert book.record(failed("new_capability"), now=later(minutes=17)).opened == 0, "one failure is not the third"


def test_late_history_opens_nothing(book: Book):
    old = episode(at=later(hours=-3))
    book.record(
        rule_result(recovering(old, NOON)),
        rule_result(episode(rule="new_capability", at=later(hours=-3)), rule="new_capability"),
    )
    assert book.rows("alerts") == []
    assert book.outbox() == []


def test_a_rule_that_is_not_ready_keeps_its_episodes(book: Book):
    book.record(rule_result(episode()))
    not_ready = replace(rule_result(at=later(minutes=15)), not_ready=("freshness_slo",))
    book.record(not_ready, now=later(minutes=15))
    assert len(book.open()) == 1
    assert [row.outcome for row in book.rows("evaluations")][-1] == "not_ready"


def test_a_failure_is_no_recovery_and_the_third_in_a_row_opens_an_alert(book: Book):
    book.record(rule_result(episode()))
    for step in (1, 2):
        book.record(failed(), now=later(minutes=step))
    assert len(book.open()) == 1
    book.record(failed(), now=later(minutes=3))
    assert [row.rule_id for row in book.rows("alerts") if row.state == "firing"].count("check_error") == 1
    book.record(failed(), now=later(minutes=4))
    assert len(book.open()) == 2
    book.record(
        rule_result(episode(at=later(minutes=15), since=NOON - QUARTER), at=later(minutes=15)), now=later(minutes=15)
    )
    assert [key.split("/")[2] for key in book.open()] == ["volume_spike"]


def test_the_episodes_of_a_deleted_rule_are_closed_and_those_of_a_broken_rule_are_not(book: Book):
    book.record(rule_result(episode()))
    without = RuleSet(RULES.rules[1:], ())
    book.rules = replace(without, broken=(BrokenRule("volume_spike", "volume_spike.yaml", ()),))
    book.record(now=later(minutes=1))
    assert len(book.open()) == 1
    book.rules = without
    book.record(now=later(minutes=2))
    assert [row.resolve_reason for row in book.rows("alerts")] == ["rule_removed"]


def test_many_at_once_share_a_message_and_all_but_the_first_pages_a_summary(book: Book):
    crowd = [episode(f"capability-{number:03}", 50.0 + number) for number in range(500)]
    book.record(rule_result(*crowd))
    assert len(book.open()) == 500
    assert len(book.outbox(OPS_CHANNEL)) == 1
    assert len(book.outbox(PAGER)) == 25


def test_an_episode_that_joins_within_the_hour_shares_the_message_and_later_gets_its_own(book: Book):
    first = episode("a")
    book.record(rule_result(first))
    second = episode("b", at=later(minutes=30))
    book.record(rule_result(first, second, at=later(minutes=30)), now=later(minutes=30))
    assert book.outbox(OPS_CHANNEL) == [("post", "pending")], "the message that was not sent yet is rewritten"
    third = episode("c", at=later(hours=2))
    book.record(rule_result(first, second, third, at=later(hours=2)), now=later(hours=2))
    assert book.outbox(OPS_CHANNEL) == [("post", "pending")] * 2


def test_a_rule_of_the_present_moment_is_one_episode_while_it_fires(book: Book):
    for minute in range(3):
        at = later(minutes=minute)
        moment = episode(rule="freshness_slo", at=at, since=at)
        book.record(rule_result(moment, at=at, rule="freshness_slo"), now=at, as_of=NOON)
    assert len(book.rows("alerts")) == 1
    book.record(rule_result(at=later(minutes=3), rule="freshness_slo"), now=later(minutes=3), as_of=NOON)
    assert book.open() == []


def test_the_error_of_a_ledger_that_cannot_be_written_shows_no_password():
    with pytest.raises(LedgerError) as refused:
        open_ledger("postgresql+psycopg2://reader:open-sesame@127.0.0.1:1/app")
    assert "open-sesame" not in str(refused.value)
    with pytest.raises(LedgerError, match="AI_AUDIT_LEDGER_URL"):
        open_ledger("nonsense")


def test_a_ledger_belongs_to_one_environment(sqlite_book: Book):
    sqlite_book.record(rule_result(episode()))
    sqlite_book.deployment = "prod"
    with pytest.raises(
        LedgerError, match="AI_AUDIT_ENV=test, not to prod: set AI_AUDIT_LEDGER_URL to a separate ledger"
    ):
        sqlite_book.record(rule_result(at=later(hours=1)), now=later(hours=1))
    assert len(sqlite_book.open()) == 1


def test_all_of_an_evaluation_is_written_or_nothing(sqlite_book: Book):
    unknown = rule_result(episode(), rule="no_such_rule")
    with pytest.raises(ValueError, match="no_such_rule"):
        sqlite_book.record(rule_result(episode()), unknown)
    assert sqlite_book.rows("alerts") == sqlite_book.rows("evaluations") == sqlite_book.rows("deliveries") == []


def test_old_evaluations_are_deleted_and_the_newest_of_a_rule_stays(book: Book):
    for day in range(3):
        book.record(rule_result(at=later(hours=24 * day)), now=later(hours=24 * day))
    with book.ledger.transaction() as connection:
        assert delete_evaluations(connection, later(hours=12)) == 1
        assert delete_evaluations(connection, later(hours=240)) == 1
    assert len(book.rows("evaluations")) == 1


def test_times_are_given_back_in_utc(book: Book):
    book.record(rule_result(episode()))
    (row,) = book.rows("alerts")
    assert row.opened_at.utcoffset() == timedelta()
    assert shipped("volume_spike").severity == row.severity


def _skew(minutes: float | None) -> pl.DataFrame:
    table = TABLES["ai_audit_sync_state"].schema
    row = {"judged_at": NOON, "environment": "live", "oldest_write_minutes": minutes, "lookback_minutes": 15.0}
    return pl.DataFrame([{**dict.fromkeys(table), **row}], schema=dict(table), orient="row")


def test_an_episode_stays_open_while_its_figure_is_not_known_and_while_its_table_is_empty(sqlite_book: Book):
    rule = shipped("long_transaction")
    sqlite_book.rules = RuleSet((rule,), ())

    def state_after(facts: pl.DataFrame, minute: int) -> str:
        at = later(minutes=minute)
        facts = facts.with_columns(pl.lit(at).alias("judged_at"))
        sqlite_book.record(judge(rule, facts, at, CALENDAR), now=at, version=minute)
        return sqlite_book.rows("alerts")[0].state

    assert state_after(_skew(20.0), 1) == "firing"
    assert state_after(_skew(None), 2) == "firing", "the role may not see other sessions any more: that is no recovery"
    assert state_after(_skew(20.0).clear(), 3) == "firing", "nothing is published of the sync any more"
    assert state_after(_skew(1.0), 4) == "resolved"


def test_an_episode_stays_open_until_its_clears_when_holds(sqlite_book: Book):
    rule = shipped("capability_cardinality")
    sqlite_book.rules = RuleSet((rule,), ())
    states = []
    for minute, number in enumerate((60, 45, 39)):
        at = later(minutes=minute)
        facts = _skew(None).with_columns(pl.lit(at).alias("judged_at"), pl.lit(number).alias("new_capabilities_1d"))
        sqlite_book.record(judge(rule, facts, at, CALENDAR), now=at, version=minute)
        states.append(sqlite_book.rows("alerts")[0].state)
    assert states == ["firing", "firing", "resolved"], "it fires above 50 and clears at 40"


_KILLED_WHILE_RECORDING = """
import os, signal, sys
from audit_assets.alerting.notify import recorder
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets_tests.alerting.ledger_factories import Book, episode, rule_result

recorder._resolve_removed_rules = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # the last step before the commit
Book(open_ledger(sys.argv[1])).record(rule_result(episode()), version=7)
"""


def test_facts_whose_evaluation_was_killed_before_the_commit_are_evaluated_by_the_next_run(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/alerts.db"
    killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_RECORDING, url], check=False, cwd=PROJECT_ROOT)
    assert killed.returncode == -signal.SIGKILL
    with open_ledger(url) as ledger:
        book = Book(ledger)
        assert (book.rows("evaluations"), book.rows("alerts"), book.outbox()) == ([], [], [])
        assert book.record(rule_result(episode()), version=7).opened == 1, "the same facts are no replay"
        assert book.record(rule_result(episode()), version=7).ignored == 1
        assert sorted(book.outbox()) == [("post", "pending"), ("trigger", "pending")]
