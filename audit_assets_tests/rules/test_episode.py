"""Episodes: when they open, stay open and resolve; and that skipping quiet steps changes nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_assets.rules.episode import Episode, Finding, ForClause, Step, advance
from audit_assets.rules.evaluate import evaluate
from audit_assets.rules.judge import replay
from audit_assets.rules.model import Rule
from audit_assets_tests.rules.factories import CALENDAR, LAST_STEP, STEP_SURGE, made_rule, steps

pytestmark = pytest.mark.requirement("R33")

QUARTER = timedelta(minutes=15)
START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def finding(number: int, value: float = 2.0) -> Finding:
    at = START + number * QUARTER
    return Finding("r", "live", (("capability", "chat"),), value, 1.0, 1.5, 100.0, at, at + QUARTER)


def step(number: int, fires: bool | None, value: float = 2.0, holds: bool = False) -> Step:
    return Step(START + (number + 1) * QUARTER, fires, holds, finding(number, value) if fires else None)


def run(pattern: str, for_clause: ForClause) -> list[Episode]:
    """Episodes over steps written as letters: F fires, - does not fire, ? cannot be judged."""
    return over([step(n, {"F": True, "-": False, "?": None}[sign]) for n, sign in enumerate(pattern)], for_clause)


def over(each_step: list[Step], for_clause: ForClause) -> list[Episode]:
    """The episodes of one instance over its steps, in order; the last one may be pending or still open."""
    found: list[Episode] = []
    episode: Episode | None = None
    for each in each_step:
        episode = advance(episode, each, for_clause)
        if episode is not None and episode.state == "resolved":
            found.append(episode)
    return found if episode is None or episode.state == "resolved" else [*found, episode]


def states(pattern: str, for_clause: ForClause) -> list[str | None]:
    episode: Episode | None = None
    found: list[str | None] = []
    for number, sign in enumerate(pattern):
        episode = advance(episode, step(number, {"F": True, "-": False, "?": None}[sign]), for_clause)
        found.append(episode.state if episode else None)
    return found


def test_one_step_opens_at_once_where_one_is_enough():
    assert states("-F-", ForClause()) == [None, "firing", "resolved"]


def test_two_of_three_steps_open_and_the_episode_began_with_the_first():
    for_clause = ForClause(2, 3)
    assert states("F-F", for_clause) == ["pending", "pending", "firing"]
    (episode,) = run("F-F", for_clause)
    assert (episode.since, episode.opened_at) == (START, START + 3 * QUARTER)


def test_three_of_four_steps_are_three_and_not_two():
    assert states("FF--", ForClause(3, 4))[:3] == ["pending", "pending", "pending"]
    assert states("FF-F", ForClause(3, 4))[-1] == "firing"


def test_a_blip_that_does_not_reach_its_steps_leaves_nothing():
    assert states("F--F--", ForClause(2, 3)) == ["pending", "pending", None, "pending", "pending", None]
    assert [episode.since for episode in run("F--F", ForClause(2, 3))] == [START + 3 * QUARTER]


def test_keep_firing_keeps_an_episode_open_for_its_duration():
    for_clause = ForClause(keep_firing=2 * QUARTER)
    assert states("F---", for_clause) == ["firing", "recovering", "recovering", "resolved"]
    assert states("F-F---", for_clause)[2:] == ["firing", "recovering", "recovering", "resolved"]


def test_a_step_that_cannot_be_judged_does_not_resolve_an_episode():
    assert states("F??-", ForClause()) == ["firing", "firing", "firing", "resolved"]


def test_a_step_that_does_not_clear_yet_keeps_it_firing():
    episode = advance(None, step(0, True), ForClause())
    held = advance(episode, step(1, False, holds=True), ForClause())
    assert held is not None
    assert (held.state, held.last_fired_at) == ("firing", START + 2 * QUARTER)


def test_an_older_evaluation_is_ignored():
    episode = advance(advance(None, step(5, True), ForClause()), step(6, True), ForClause())
    assert advance(episode, step(3, False), ForClause()) is episode
    assert advance(episode, step(6, False), ForClause()) is episode


def test_an_episode_keeps_its_worst_and_its_latest_finding():
    episode: Episode | None = None
    for number, value in enumerate((2.0, 9.0, 3.0)):
        episode = advance(episode, step(number, True, value), ForClause())
    assert episode is not None
    assert (episode.worst.value, episode.latest.value) == (9.0, 3.0)


def test_after_it_is_resolved_the_next_firing_step_begins_another():
    first, second = run("F-F-", ForClause())
    assert (first.resolved_at, second.since) == (START + 2 * QUARTER, START + 2 * QUARTER)


PATTERN = st.text("F--?", max_size=40)
TERMS = st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 4)).map(
    lambda drawn: ForClause(drawn[0], drawn[0] + drawn[1], drawn[2] * QUARTER)
)


def rule_with(for_clause: ForClause) -> Rule:
    return made_rule(STEP_SURGE).model_copy(
        update={"steps": (for_clause.fires_in, for_clause.of), "keep_firing": for_clause.keep_firing or None}
    )


@settings(deadline=None)
@given(st.lists(PATTERN, max_size=3), TERMS)
def test_skipping_quiet_steps_gives_the_same_episodes_as_walking_all_of_them(
    patterns: list[str], for_clause: ForClause
):
    counts: dict[str, dict[str, Any]] = {
        "F": {"success_count": 0, "error_count": 9},
        "-": {"success_count": 9, "error_count": 0},
        "?": {"success_count": 0, "error_count": 0},
    }
    rows = [
        {"capability": f"c{series}", "step_start": LAST_STEP - (50 - n) * QUARTER, **counts[sign]}
        for series, pattern in enumerate(patterns)
        for n, sign in enumerate(pattern)
    ]
    rule, until = rule_with(for_clause), LAST_STEP + QUARTER
    found = replay(rule, evaluate(rule, steps(*rows), until, CALENDAR), until)
    walked = [episode for pattern in patterns for episode in run(pattern, for_clause) if episode.opened_at is not None]
    assert [(e.state, e.opened_at - e.since, len(e.recent)) for e in found if e.opened_at] == [
        (e.state, e.opened_at - e.since, len(e.recent)) for e in walked if e.opened_at
    ]


def test_missing_rows_resolve_an_episode_only_when_no_data_is_ok():
    bad = {"success_count": 0, "error_count": 9, "step_start": LAST_STEP - 4 * QUARTER}
    surge, until = made_rule(STEP_SURGE), LAST_STEP + QUARTER
    for policy, state in (("keep", "firing"), ("ok", "resolved")):
        rule = surge.model_copy(update={"no_data": policy})
        (episode,) = replay(rule, evaluate(rule, steps(bad), until, CALENDAR), until)
        assert episode.state == state
