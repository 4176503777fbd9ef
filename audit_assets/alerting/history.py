"""What a message tells of an episode beside its own figures: those of its last windows; pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from audit_assets.alerting.story import Told
from audit_assets.rules.answers import START, VALUE, answers
from audit_assets.rules.calendar import BusinessCalendar
from audit_assets.rules.episode import Finding
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import Rule
from audit_assets.rules.rows import RuleError

WINDOWS = 16


def histories(
    rule: Rule, told: Sequence[Told], tables: Mapping[str, pl.DataFrame], as_of: datetime, calendar: BusinessCalendar
) -> Mapping[str, tuple[float | None, ...]]:
    """Key → the rule's own figure in the last `WINDOWS` windows, oldest first, None where there is no figure. Empty
    for rules that judge the moment itself, and where the facts are not there."""
    if rule.window == "now" or rule.watch not in tables:
        return {}
    table = TABLES[rule.watch]
    first = as_of - (WINDOWS + 1) * table.width - timedelta(days=1 if table.width >= timedelta(days=1) else 0)
    # One figure for all windows: that of the condition the episode fires by may be another than the rule's own.
    own = rule.model_copy(update={"also": {}, "gates": {}})
    recent = tables[rule.watch].filter(pl.col(table.time) >= _edge(tables[rule.watch], table.time, first))
    try:
        found = answers(own, recent, as_of, calendar)
    except RuleError:
        return {}
    known: dict[str, tuple[float | None, ...]] = {}
    for each in told:
        chosen = {"environment": each.environment, **dict(each.dimensions)}
        mine = found.filter(*(pl.col(name) == chosen[name] for name in table.grain if name in chosen))
        known[each.key] = tuple(mine.sort(START).get_column(VALUE).tail(WINDOWS).to_list())
    return known


def finding_of(rule: Rule, told: Told) -> Finding:
    """The newest firing window of an episode, as the rules know it."""
    return Finding(
        rule.id, told.environment, told.dimensions, told.value, told.baseline, told.threshold, told.delta_percent,
        told.window_start, told.window_end, told.way,
    )  # fmt: skip


def _edge(rows: pl.DataFrame, column: str, at: datetime) -> pl.Expr:
    return pl.lit(at.date() if rows.schema[column] == pl.Date() else at)
