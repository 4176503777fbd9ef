"""The deliverer reports once that rules are not evaluated, and once that they are again."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from audit_assets.alerting.delivery.watchdog import GRACE_PERIOD
from audit_assets_tests.alerting.test_deliverer import DeliveryHarness, harness

__all__ = ["harness"]

pytestmark = pytest.mark.requirement("R41", "R46")

MINUTE = timedelta(minutes=1)
KEY = "ai-audit/notice/judging"


def run_minutes(harness: DeliveryHarness, minutes: int, evaluating: bool = False) -> None:
    """Runs a deliverer each minute, while rules are evaluated or not."""
    for _ in range(minutes):
        harness.deliver(MINUTE)
        if evaluating:
            harness.cleared(timedelta())


def texts(harness: DeliveryHarness) -> list[str]:
    return [one.text for one in harness.fakes.received().messages]


def states(harness: DeliveryHarness) -> Iterable[tuple[str, int]]:
    return [(one.state, one.opened) for one in harness.fakes.incidents().values() if one.dedup_key == KEY]


def test_evaluated_rules_raise_no_deadman_alert(harness: DeliveryHarness):
    harness.cleared(timedelta())
    run_minutes(harness, 20, evaluating=True)
    assert (texts(harness), harness.fakes.incidents()) == ([], {})


def test_missing_evaluations_are_reported_once_and_their_recovery_once(harness: DeliveryHarness):
    harness.cleared(timedelta())
    run_minutes(harness, 30)
    assert texts(harness) == [
        "AI audit alerts: no rule was evaluated for 10 min: check the runs of audit_sync and audit_judge"
    ]
    assert states(harness) == [("open", 1)]
    run_minutes(harness, 10, evaluating=True)
    assert texts(harness)[1:] == ["AI audit alerts: rules are evaluated again"]
    assert states(harness) == [("resolved", 1)]
    run_minutes(harness, 12)
    assert len(texts(harness)) == 3
    assert states(harness) == [("open", 2)]


def test_a_night_in_which_nothing_ran_causes_no_alert_in_the_morning(harness: DeliveryHarness):
    harness.cleared(timedelta())
    run_minutes(harness, 3)
    harness.at += timedelta(hours=10)
    run_minutes(harness, round(GRACE_PERIOD / MINUTE) - 1)
    assert texts(harness) == []
    run_minutes(harness, 3)
    assert "for 10 h" in texts(harness)[0], "a night without evaluations after a start is reported"


def test_a_ledger_without_evaluations_raises_no_deadman_alert(harness: DeliveryHarness):
    run_minutes(harness, 20)
    assert texts(harness) == []
