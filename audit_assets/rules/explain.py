"""Explains for each instance why a rule fires or does not on the newest window; pure."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from audit_assets.rules.business_clock import BusinessCalendar
from audit_assets.rules.episode import Episode
from audit_assets.rules.evaluate import (
    BASELINE,
    END,
    FIRES,
    START,
    SUPPRESSED,
    THRESHOLD,
    VALUE,
    evaluate,
    for_expressions,
    gates_on_row,
)
from audit_assets.rules.facts import TABLES
from audit_assets.rules.judge import replay
from audit_assets.rules.model import Rule

_SHOWN = 8  # steps, the newest last


@dataclass(frozen=True, slots=True)
class InstanceExplanation:
    """One instance on its newest window: the figures a notification would show, whether the last steps fired (None:
    could not be judged), the episode's state, and the reason in words. Times are UTC."""

    instance: tuple[str, ...]
    window_start: datetime
    window_end: datetime
    value: float | None
    baseline: float | None
    threshold: float | None
    recent: tuple[bool | None, ...]
    state: str
    why: str


def explain_rule(
    rule: Rule, facts: pl.DataFrame, as_of: datetime, calendar: BusinessCalendar
) -> tuple[InstanceExplanation, ...]:
    """Explains every instance of `rule` at `as_of` (UTC), firing instances first. Raises RuleError."""
    table = TABLES[rule.watch]
    evaluation = evaluate(rule, facts, as_of, calendar)
    episodes = {episode.latest.instance: episode for episode in replay(rule, evaluation, as_of) if episode.is_open}
    rows: list[InstanceExplanation] = []
    groups = evaluation.partition_by(table.grain, maintain_order=True) if table.grain else [evaluation]
    for group in groups:
        if not group.height:
            continue
        last = group.row(-1, named=True)
        instance = tuple(str(last[name]) for name in table.grain)
        episode = episodes.get(instance)
        gates = _failing_gates(rule, facts, last)
        rows.append(
            InstanceExplanation(
                instance=instance,
                window_start=last[START],
                window_end=last[END],
                value=last[VALUE],
                baseline=last[BASELINE],
                threshold=last[THRESHOLD],
                recent=tuple(group.get_column(FIRES).tail(_SHOWN)),
                state=episode.state if episode else "quiet",
                why=_why(episode, last, gates),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.state == "quiet", row.instance)))


def _why(episode: Episode | None, last: dict[str, object], gates: list[str]) -> str:
    if episode is not None:
        since = f"since {episode.since:%Y-%m-%d %H:%M} UTC"
        return f"fires, {since}" if last[FIRES] else f"{episode.state}, {since}: kept open"
    if last[FIRES]:
        return "fires on this step, but not yet on enough steps"
    if last[SUPPRESSED]:
        return f"suppressed by {', '.join(gates)}"
    return "cannot be judged: a figure it needs is missing" if last[FIRES] is None else "within its limit"


def _failing_gates(rule: Rule, facts: pl.DataFrame, last: dict[str, object]) -> list[str]:
    if not last[SUPPRESSED]:
        return []
    table = TABLES[rule.watch]
    same = [pl.col(name) == last[name] for name in table.grain]
    row = facts.filter(pl.col(table.time).cast(pl.Datetime("us", "UTC")) == last[START], *same)
    columns = [name for name in table.conditions_may_name if name in facts.columns]
    passed = gates_on_row(rule, for_expressions(row, table, columns))
    return [name for name, passes in passed.items() if passes is not True]
