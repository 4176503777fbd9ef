"""What an evaluation does to the ledger, on SQLite and on Postgres."""

from dataclasses import replace
from datetime import timedelta

import pytest

from audit_assets.alerting.ledger import LedgerError, open_ledger
from audit_assets.alerting.record import forget_evaluations
from audit_assets.rules.model import BrokenRule, RuleSet
from audit_assets_tests.alerting.made_ledger import (
    NOON,
    OPS_CHANNEL,
    PAGER,
    QUARTER,
    RULES,
    Book,
    episode,
    failed,
    judged,
    later,
    recovering,
)
from audit_assets_tests.rules.made import shipped

pytestmark = pytest.mark.requirement("R41", "R45")


def test_an_episode_that_opens_is_one_alert_one_page_and_one_message(book: Book):
    recorded = book.record(judged(episode()))
    (row,) = book.rows("alerts")
    assert recorded.opened == 1
    assert row.key.startswith("ai-audit/live/volume_spike/")
    assert row.key.endswith("/1")
    assert (row.state, row.value, row.peak, row.delta_percent) == ("firing", 90.0, 90.0, 800.0)
    assert (row.since, row.opened_at, row.run_id) == (NOON - QUARTER, NOON, "run1")
    assert sorted(book.outbox()) == [("post", "pending"), ("trigger", "pending")]
    assert book.kinds() == ["opened"]


def test_the_same_facts_judged_again_change_nothing(book: Book):
    for _ in range(3):
        book.record(judged(episode()), now=NOON)
    assert len(book.rows("alerts")) == len(book.rows("evaluations")) == 1
    assert len(book.outbox()) == 2


def test_a_problem_that_stays_open_is_told_once_and_its_figures_follow(book: Book):
    book.record(judged(episode()))
    for step in range(1, 5):
        at = later(minutes=15 * step)
        book.record(judged(episode(value=90 + step, at=at, since=NOON - QUARTER), at=at), now=at)
    (row,) = book.rows("alerts")
    assert (row.value, row.window_end, row.as_of) == (94.0, later(hours=1), later(hours=1))
    assert len(book.outbox()) == 2
    assert book.kinds() == ["opened"]


def test_recovering_is_on_record_and_told_to_nobody(book: Book):
    one = episode()
    book.record(judged(one))
    book.record(judged(recovering(one, later(minutes=15)), at=later(minutes=15)), now=later(minutes=15))
    assert book.rows("alerts")[0].state == "recovering"
    assert book.kinds() == ["opened", "recovering"]
    assert len(book.outbox()) == 2


def test_what_cleared_before_it_was_told_is_told_to_nobody(book: Book):
    book.record(judged(episode()))
    book.record(judged(at=later(minutes=15)), now=later(minutes=15))
    (row,) = book.rows("alerts")
    assert (row.state, row.resolve_reason, row.resolved_at) == ("resolved", "cleared", later(minutes=15))
    assert {status for _, status in book.outbox()} == {"superseded"}


def test_the_next_episode_of_an_instance_has_a_key_of_its_own(book: Book):
    book.record(judged(episode()))
    book.record(judged(at=later(minutes=15)), now=later(minutes=15))
    book.record(judged(episode(at=later(hours=2)), at=later(hours=2)), now=later(hours=2))
    first, second = (row.key for row in book.rows("alerts"))
    assert (first[:-1], first[-1], second[-1]) == (second[:-1], "1", "2")


def test_one_that_ended_and_began_again_between_two_evaluations_is_two(book: Book):
    book.record(judged(episode()))
    anew = episode(at=later(hours=3), since=later(hours=2))
    book.record(judged(anew, at=later(hours=3)), now=later(hours=3))
    assert [row.state for row in book.rows("alerts")] == ["resolved", "firing"]


def test_an_older_evaluation_is_kept_and_ignored(book: Book):
    book.record(judged(episode(at=later(hours=1)), at=later(hours=1)), now=later(hours=1))
    recorded = book.record(judged(at=NOON), now=later(hours=1), as_of=NOON)
    assert recorded.ignored == 1
    assert len(book.open()) == 1
    assert sorted(row.outcome for row in book.rows("evaluations")) == ["judged", "outdated"]


@pytest.mark.requirement("R44")
def test_a_clock_that_jumped_ahead_and_came_back_does_not_silence_the_rules(book: Book):
    book.record(judged(at=later(hours=24)), failed("new_capability"), now=later(hours=24))
    book.record(failed("new_capability"), now=later(hours=25))
    assert book.record(judged(episode())).opened == 1
    assert book.record(judged(at=later(minutes=15)), now=later(minutes=16)).resolved == 1
    assert book.record(failed("new_capability"), now=later(minutes=17)).opened == 0, "one failure is not the third"


def test_history_that_comes_late_opens_nothing(book: Book):
    old = episode(at=later(hours=-3))
    book.record(
        judged(recovering(old, NOON)), judged(episode(rule="new_capability", at=later(hours=-3)), rule="new_capability")
    )
    assert book.rows("alerts") == []
    assert book.outbox() == []


def test_a_rule_that_is_not_ready_keeps_its_episodes(book: Book):
    book.record(judged(episode()))
    held = replace(judged(at=later(minutes=15)), not_ready=("freshness_slo",))
    book.record(held, now=later(minutes=15))
    assert len(book.open()) == 1
    assert [row.outcome for row in book.rows("evaluations")][-1] == "not_ready"


def test_a_failure_is_no_recovery_and_the_third_in_a_row_is_told(book: Book):
    book.record(judged(episode()))
    for step in (1, 2):
        book.record(failed(), now=later(minutes=step))
    assert len(book.open()) == 1
    book.record(failed(), now=later(minutes=3))
    assert [row.rule_id for row in book.rows("alerts") if row.state == "firing"].count("check_error") == 1
    book.record(failed(), now=later(minutes=4))
    assert len(book.open()) == 2
    book.record(
        judged(episode(at=later(minutes=15), since=NOON - QUARTER), at=later(minutes=15)), now=later(minutes=15)
    )
    assert [key.split("/")[2] for key in book.open()] == ["volume_spike"]


def test_the_episodes_of_a_rule_whose_file_is_gone_are_closed_and_of_a_broken_one_are_not(book: Book):
    book.record(judged(episode()))
    without = RuleSet(RULES.rules[1:], ())
    book.rules = replace(without, broken=(BrokenRule("volume_spike", "volume_spike.yaml", ()),))
    book.record(now=later(minutes=1))
    assert len(book.open()) == 1
    book.rules = without
    book.record(now=later(minutes=2))
    assert [row.resolve_reason for row in book.rows("alerts")] == ["rule_removed"]


def test_many_at_once_share_a_message_and_all_but_the_first_pages_a_summary(book: Book):
    crowd = [episode(f"capability-{number:03}", 50.0 + number) for number in range(500)]
    book.record(judged(*crowd))
    assert len(book.open()) == 500
    assert len(book.outbox(OPS_CHANNEL)) == 1
    assert len(book.outbox(PAGER)) == 25


def test_one_that_joins_within_the_hour_is_in_the_same_message_and_later_in_its_own(book: Book):
    first = episode("a")
    book.record(judged(first))
    second = episode("b", at=later(minutes=30))
    book.record(judged(first, second, at=later(minutes=30)), now=later(minutes=30))
    assert book.outbox(OPS_CHANNEL) == [("post", "pending")], "the message nobody saw yet is rewritten"
    third = episode("c", at=later(hours=2))
    book.record(judged(first, second, third, at=later(hours=2)), now=later(hours=2))
    assert book.outbox(OPS_CHANNEL) == [("post", "pending")] * 2


def test_a_rule_of_the_moment_is_one_episode_for_as_long_as_it_fires(book: Book):
    for minute in range(3):
        at = later(minutes=minute)
        moment = episode(rule="freshness_slo", at=at, since=at)
        book.record(judged(moment, at=at, rule="freshness_slo"), now=at, as_of=NOON)
    assert len(book.rows("alerts")) == 1
    book.record(judged(at=later(minutes=3), rule="freshness_slo"), now=later(minutes=3), as_of=NOON)
    assert book.open() == []


def test_a_ledger_that_cannot_be_written_says_so_and_shows_no_password():
    with pytest.raises(LedgerError) as refused:
        open_ledger("postgresql+psycopg2://reader:open-sesame@127.0.0.1:1/app")
    assert "open-sesame" not in str(refused.value)
    with pytest.raises(LedgerError, match="AI_AUDIT_LEDGER_URL"):
        open_ledger("nonsense")


def test_a_ledger_is_that_of_one_environment(sqlite_book: Book):
    sqlite_book.record(judged(episode()))
    sqlite_book.deployment = "prod"
    with pytest.raises(LedgerError, match="AI_AUDIT_ENV=test, and not of prod: give that one a ledger of its own"):
        sqlite_book.record(judged(at=later(hours=1)), now=later(hours=1))
    assert len(sqlite_book.open()) == 1


def test_all_of_an_evaluation_is_written_or_nothing(sqlite_book: Book):
    unknown = judged(episode(), rule="no_such_rule")
    with pytest.raises(ValueError, match="no_such_rule"):
        sqlite_book.record(judged(episode()), unknown)
    assert sqlite_book.rows("alerts") == sqlite_book.rows("evaluations") == sqlite_book.rows("deliveries") == []


def test_old_evaluations_are_forgotten_and_the_newest_of_a_rule_stays(book: Book):
    for day in range(3):
        book.record(judged(at=later(hours=24 * day)), now=later(hours=24 * day))
    with book.ledger.transaction() as connection:
        assert forget_evaluations(connection, later(hours=12)) == 1
        assert forget_evaluations(connection, later(hours=240)) == 1
    assert len(book.rows("evaluations")) == 1


def test_times_are_given_back_in_utc(book: Book):
    book.record(judged(episode()))
    (row,) = book.rows("alerts")
    assert row.opened_at.utcoffset() == timedelta()
    assert shipped("volume_spike").severity == row.severity
