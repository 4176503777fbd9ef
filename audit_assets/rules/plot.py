"""Series and what fired on them, as one HTML page that needs no network; pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from audit_assets.rules.backtest import History, InstanceHistory
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import Rule

MOST = 12  # series on a page, those that fired most first

_COUNTS = "interaction_count"
_LINE, _USUAL = "#64748B", "#CBD5E1"


def plotted(facts: Mapping[str, pl.DataFrame], histories: Sequence[History], rules: Mapping[str, Rule]) -> str:
    """A page with a row for each of the `MOST` series that fired most: calls a step, what was expected, and a band over
    each episode in its rule's colour. Times are UTC."""
    drawn = [(history, one) for history in histories for one in history.instances if _is_drawable(history, rules)]
    by_series: dict[tuple[str, tuple[str, ...]], list[tuple[History, InstanceHistory]]] = {}
    for history, one in drawn:
        by_series.setdefault((rules[history.rule_id].watch, one.instance), []).append((history, one))
    order = sorted(by_series, key=lambda key: -sum(len(one.episodes) for _, one in by_series[key]))[:MOST]
    if not order:
        return "<!doctype html><title>Nothing to draw</title><p>None of these rules judges calls by step.</p>"
    figure = make_subplots(
        rows=len(order), cols=1, subplot_titles=[", ".join(key[1]) or "all" for key in order],
        vertical_spacing=0.35 / len(order),
    )  # fmt: skip
    for number, key in enumerate(order, 1):
        _draw(figure, number, facts[key[0]], key, by_series[key], rules)
    for rule_id in sorted({history.rule_id for key in order for history, _ in by_series[key]}):
        _explain_colour(figure, rules[rule_id])
    figure.update_layout(
        height=100 + 220 * len(order), template="plotly_white", hovermode="x", bargap=0, margin={"t": 90, "l": 60},
        title="Calls a step, what was expected, and what fired (UTC)",
        legend={"orientation": "h", "y": 1.0, "yref": "container", "x": 1, "xanchor": "right", "yanchor": "top"},
    )  # fmt: skip
    return figure.to_html(include_plotlyjs=True, full_html=True)


def _is_drawable(history: History, rules: Mapping[str, Rule]) -> bool:
    return _COUNTS in TABLES[rules[history.rule_id].watch].schema and "step_start" in TABLES[
        rules[history.rule_id].watch
    ].schema  # fmt: skip


def _draw(
    figure: go.Figure,
    row: int,
    facts: pl.DataFrame,
    key: tuple[str, tuple[str, ...]],
    judged: Sequence[tuple[History, InstanceHistory]],
    rules: Mapping[str, Rule],
) -> None:
    watch, instance = key
    same = [pl.col(name) == value for name, value in zip(TABLES[watch].grain, instance, strict=True)]
    series = facts.filter(*same).sort("step_start")
    times = series.get_column("step_start").to_list()
    for name, column, colour in (("expected", "expected_count", _USUAL), ("calls", _COUNTS, _LINE)):
        figure.add_trace(
            go.Scattergl(
                x=times, y=series.get_column(column).to_list(), name=name, legendgroup=name, showlegend=row == 1,
                line={"color": colour, "width": 1},
            ),
            row=row, col=1,
        )  # fmt: skip
    for history, one in judged:
        rule = rules[history.rule_id]
        for episode in one.episodes:
            _band(figure, row, episode.since, one.end_of(episode), rule)


def _band(figure: go.Figure, row: int, start: datetime, end: datetime, rule: Rule) -> None:
    figure.add_vrect(
        x0=start, x1=end, fillcolor=rule.colour, opacity=0.25, line_width=1, line_color=rule.colour,
        row=row, col=1,  # pyright: ignore[reportArgumentType] (numbers, whatever the stubs say)
    )  # fmt: skip


def _explain_colour(figure: go.Figure, rule: Rule) -> None:
    """A place in the legend; bands have none, and their names would lie over one another."""
    marker = {"symbol": "square", "size": 12, "color": rule.colour, "opacity": 0.5}
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=rule.id, marker=marker), row=1, col=1)
