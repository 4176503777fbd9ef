"""That rules are not judged is told by whoever delivers: once, and once that they are again."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from audit_assets.alerting.watchdog import PATIENCE
from audit_assets_tests.alerting.test_deliverer import Post, post

__all__ = ["post"]

pytestmark = pytest.mark.requirement("R41", "R46")

MINUTE = timedelta(minutes=1)
KEY = "ai-audit/notice/judging"


def look(post: Post, minutes: int, judging: bool = False) -> None:
    """A deliverer that looks each minute, beside rules that are judged or not."""
    for _ in range(minutes):
        post.deliver(MINUTE)
        if judging:
            post.cleared(timedelta())


def texts(post: Post) -> list[str]:
    return [one.text for one in post.fakes.reading().messages]


def states(post: Post) -> Iterable[tuple[str, int]]:
    return [(one.state, one.opened) for one in post.fakes.incidents().values() if one.dedup_key == KEY]


def test_rules_that_are_judged_are_no_news(post: Post):
    post.cleared(timedelta())
    look(post, 20, judging=True)
    assert (texts(post), post.fakes.incidents()) == ([], {})


def test_rules_that_nobody_judges_are_told_once_and_once_that_they_are_again(post: Post):
    post.cleared(timedelta())
    look(post, 30)
    assert texts(post) == [
        "AI audit alerts: no rule was judged for 10 min: look at the runs of audit_sync and audit_judge"
    ]
    assert states(post) == [("open", 1)]
    look(post, 10, judging=True)
    assert texts(post)[1:] == ["AI audit alerts: rules are judged again"]
    assert states(post) == [("resolved", 1)]
    look(post, 12)
    assert len(texts(post)) == 3
    assert states(post) == [("open", 2)]


def test_a_night_in_which_nothing_ran_is_told_to_nobody_in_the_morning(post: Post):
    post.cleared(timedelta())
    look(post, 3)
    post.at += timedelta(hours=10)
    look(post, round(PATIENCE / MINUTE) - 1)
    assert texts(post) == []
    look(post, 3)
    assert "for 10 h" in texts(post)[0], "one in which they are not judged after a start is"


def test_where_nothing_was_ever_judged_there_is_nothing_to_miss(post: Post):
    look(post, 20)
    assert texts(post) == []
