"""The bar above the tiles: time range and filters. Each option is a link to the page with another URL.

So every view can be shared and bookmarked, and the back button works."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from dash import html

from audit_assets.dashboards.query.scope import DEFAULT_PRESET, PRESETS, Scope
from audit_assets.text import formatting

_TITLES = {
    "capability": "Capability",
    "provider": "Provider",
    "team": "Team",
    "owner": "Owner",
    "activity": "Activity",
    "workspace": "Workspace",
}
_NAMED = 2
_LISTED = 200


def attributes(given: Mapping[str, str]) -> dict[str, Any]:
    """`aria-…` and `data-…` attributes, to be unpacked into a component."""
    return dict(given)


def controls(path: str, scope: Scope, options: Mapping[str, Sequence[str]]) -> Any:
    """The time range, a list of options for each filter, and a reset link."""
    listed = [_filter(path, scope, name, values) for name, values in options.items()]
    bar = [_presets(path, scope), _dates(scope), *listed]
    if scope.filters or scope.preset != DEFAULT_PRESET:
        bar.append(html.A("Reset", href=path, className="clear"))
    return html.Div(bar, className="controls", role="group", **attributes({"aria-label": "Time range and filters"}))


def page_url(path: str, scope: Scope) -> str:
    query = scope.query()
    return f"{path}?{query}" if query else path


def _presets(path: str, scope: Scope) -> Any:
    links: list[Any] = []
    for name, days in PRESETS.items():
        first = scope.now.date() - timedelta(days=days - 1)
        there = replace(scope, first=first, last=scope.now.date(), preset=name, exact=None)
        chosen = {"aria-current": "true"} if scope.preset == name else {}
        links.append(html.A(f"{days} days", href=page_url(path, there), **attributes(chosen)))
    return html.Div(links, className="segments", role="group", **attributes({"aria-label": "Time range up to now"}))


def _dates(scope: Scope) -> Any:
    """The first and last UTC day; the page's script turns them into date fields."""
    today = scope.now.date().isoformat()
    days = {"data-from": scope.first.isoformat(), "data-to": scope.last.isoformat(), "data-today": today}
    exact = ""
    if scope.exact is not None:
        exact = f"{formatting.instant(scope.exact.start)} to {formatting.instant(scope.exact.end)}"
    return html.Span(
        [html.Span("UTC days", className="unseen"), html.Span(exact) if exact else None],
        className="dates",
        **attributes(days),
    )


def _filter(path: str, scope: Scope, name: str, values: Sequence[str]) -> Any:
    chosen = scope.chosen(name)
    listed = [*(value for value in chosen if value not in values), *values[:_LISTED]]
    options: list[Any] = []
    for value in listed:
        others = tuple(selected for selected in chosen if selected != value)
        there = scope.with_filter(name, *(others if value in chosen else (*chosen, value)))
        state = {"aria-checked": "true" if value in chosen else "false"}
        label = formatting.shortened(value, 48)
        options.append(
            html.A(
                html.Bdi(label), href=page_url(path, there), role="menuitemcheckbox", title=value, **attributes(state)
            )
        )
    if len(values) > _LISTED:
        options.append(html.Span(f"{len(values) - _LISTED:,} more: add {name}=… to the URL"))
    if chosen:
        options.insert(
            0, html.A(f"All ({len(values):,})", href=page_url(path, scope.with_filter(name)), role="menuitem")
        )
    if not options:
        options.append(html.Span("No values in this range", className="clear"))
    selected = ", ".join(formatting.shortened(value, 24) for value in chosen[:_NAMED]) if chosen else "all"
    more = f" +{len(chosen) - _NAMED}" if len(chosen) > _NAMED else ""
    title = f"{_TITLES[name]}: {selected}{more}"
    return html.Details([html.Summary(title), html.Div(options, className="options", role="menu")], className="filter")
