"""Plots series and the episodes on them as one HTML page that needs no network; pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import plotly.graph_objects as go
import polars as pl
from plotly import subplots

from audit_assets.backtest.replay import History, InstanceHistory
from audit_assets.rules.facts import TABLES
from audit_assets.rules.model import Rule

MAX_SERIES = 12  # per page; series with the most episodes first

_COUNTS, _EXPECTED = "interaction_count", "expected_count"
_LINE, _USUAL = "#64748B", "#CBD5E1"


def plot_page(facts: Mapping[str, pl.DataFrame], histories: Sequence[History], rules: Mapping[str, Rule]) -> str:
    """An HTML page with one row for each of the `MAX_SERIES` series with the most episodes: calls per step, expected
    calls, and a band over each episode in its rule's color. Times are UTC."""
    drawable = [history for history in histories if _is_drawable(history, rules)]
    by_series: dict[tuple[str, tuple[str, ...]], list[tuple[History, InstanceHistory]]] = {}
    for history in drawable:
        for series in history.instances:
            by_series.setdefault((rules[history.rule_id].watch, series.instance), []).append((history, series))
    order = sorted(by_series, key=lambda key: -sum(len(series.episodes) for _, series in by_series[key]))[:MAX_SERIES]
    if not order:
        return "<!doctype html><title>Nothing to plot</title><p>None of these rules evaluates calls per step.</p>"
    figure = subplots.make_subplots(
        rows=len(order), cols=1, subplot_titles=[", ".join(key[1]) or "all" for key in order],
        vertical_spacing=0.35 / len(order),
    )  # fmt: skip
    for number, key in enumerate(order, 1):
        _draw(figure, number, facts[key[0]], key, by_series[key], rules)
    for rule_id in sorted({history.rule_id for key in order for history, _ in by_series[key]}):
        _add_legend_entry(figure, rules[rule_id])
    figure.update_layout(
        height=100 + 220 * len(order), template="plotly_white", hovermode="x", bargap=0, margin={"t": 90, "l": 60},
        title="Calls per step, expected calls and alerts (UTC)",
        legend={"orientation": "h", "y": 1.0, "yref": "container", "x": 1, "xanchor": "right", "yanchor": "top"},
    )  # fmt: skip
    return figure.to_html(include_plotlyjs=True, full_html=True)


def _is_drawable(history: History, rules: Mapping[str, Rule]) -> bool:
    return _EXPECTED in TABLES[rules[history.rule_id].watch].schema


def _draw(
    figure: go.Figure,
    row: int,
    facts: pl.DataFrame,
    key: tuple[str, tuple[str, ...]],
    histories: Sequence[tuple[History, InstanceHistory]],
    rules: Mapping[str, Rule],
) -> None:
    watch, instance = key
    is_instance = [pl.col(name) == value for name, value in zip(TABLES[watch].grain, instance, strict=True)]
    series = facts.filter(*is_instance).sort("step_start")
    times = series.get_column("step_start").to_list()
    for name, column, color in (("expected", _EXPECTED, _USUAL), ("calls", _COUNTS, _LINE)):
        figure.add_trace(
            go.Scattergl(
                x=times, y=series.get_column(column).to_list(), name=name, legendgroup=name, showlegend=row == 1,
                line={"color": color, "width": 1},
            ),
            row=row, col=1,
        )  # fmt: skip
    for history, instance_history in histories:
        rule = rules[history.rule_id]
        for episode in instance_history.episodes:
            _add_band(figure, row, episode.since, instance_history.end_of(episode), rule)


def _add_band(figure: go.Figure, row: int, start: datetime, end: datetime, rule: Rule) -> None:
    figure.add_vrect(
        x0=start, x1=end, fillcolor=rule.colour, opacity=0.25, line_width=1, line_color=rule.colour,
        row=row, col=1,  # pyright: ignore[reportArgumentType] (the stubs are wrong: both are numbers)
    )  # fmt: skip


def _add_legend_entry(figure: go.Figure, rule: Rule) -> None:
    """Adds a legend entry for the rule: bands have none, and labels on the bands would overlap."""
    marker = {"symbol": "square", "size": 12, "color": rule.colour, "opacity": 0.5}
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=rule.id, marker=marker), row=1, col=1)
