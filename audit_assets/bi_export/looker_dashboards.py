"""Generates the Looker dashboards, one per tab: the fields each tile queries, and how they are drawn."""

from collections.abc import Mapping

import yaml

from audit_assets.bi_export.looker import (
    DEFAULT_RANGE,
    HEADER,
    MODEL,
    MOST_ROWS,
    RANGE,
    SPACE,
    WINDOW,
    WINDOW_VALUES,
    age_field,
    figure_field,
    filter_field,
    names_field,
    rows_field,
    tiles_of,
    windows_of,
)
from audit_assets.bi_export.tiles import place_tiles
from audit_assets.dashboards.definition.load import LISTS_ROWS, TABS
from audit_assets.dashboards.definition.model import Definition, Filter, Page, Show, Source, Tile
from audit_assets.dashboards.query.sql import tile_columns

DATE = "Date"
_MOST_PIVOTS = 200
_KINDS: Mapping[Show, str] = {
    "kpi": "single_value",
    "area": "looker_area",
    "line": "looker_line",
    "band": "looker_line",
    "donut": "looker_pie",
    "box": "looker_boxplot",
    "bars": "looker_bar",
    "stacked_bars": "looker_bar",
    "heatmap": "looker_grid",
    "scatter": "looker_scatter",
    "funnel": "looker_funnel",
    "table": "looker_grid",
    "gauge": "single_value",  # Looker has no gauge of its own
}
_HEIGHTS: Mapping[Show, int] = {"kpi": 4, "table": 9}
_USUAL_HEIGHT = 7
_STANDS_OUT = "#B42318"

Element = dict[str, object]


def dashboard_files(definition: Definition) -> dict[str, str]:
    """Path in the project → text."""
    pages = [page for page in definition.pages if page.page in TABS]
    return {f"dashboards/{page.page}.dashboard.lookml": _dashboard(page, definition) for page in pages}


def _dashboard(page: Page, definition: Definition) -> str:
    dashboard: Element = {
        "dashboard": f"{MODEL}_{page.page}",
        "title": f"{SPACE}: {page.title}",
        "description": page.description,
        "layout": "newspaper",
        "preferred_viewer": "dashboards-next",
        "filters": [_date_filter(), *(_filter(name, page, definition) for name in page.filters)],
        "elements": _elements(page, definition),
    }
    return HEADER + yaml.safe_dump([dashboard], sort_keys=False, allow_unicode=True, width=110)


def _date_filter() -> Element:
    return {
        "name": DATE,
        "title": "Date (UTC days)",
        "type": "date_filter",
        "default_value": DEFAULT_RANGE,
        "allow_multiple_values": False,
        "required": True,
    }


def _filter(name: Filter, page: Page, definition: Definition) -> Element:
    """A filter with the values of the first source of the page that has it as a dimension, else of any source."""
    ours = [tile.source for tile in page.tiles]
    sources = sorted(definition.metrics.sources.items(), key=lambda item: item[0] not in ours)
    explore, field = next(
        (key, field)
        for key, source in sources
        if (field := filter_field(source, name)) is not None and field in source.columns
    )
    return {
        "name": name.capitalize(),
        "title": name.capitalize(),
        "type": "field_filter",
        "model": MODEL,
        "explore": explore,
        "field": f"{explore}.{field}",
        "allow_multiple_values": True,
        "required": False,
    }


def _elements(page: Page, definition: Definition) -> list[Element]:
    return [
        _element(tile, page, definition) | {"row": at.row, "col": at.column, "width": at.width, "height": at.height}
        for tile, at in place_tiles(page, _HEIGHTS, _USUAL_HEIGHT)
    ]


def _element(tile: Tile, page: Page, definition: Definition) -> Element:
    source = definition.source(tile.source)
    fields, pivots, hidden = _fields(tile, source)
    named = f"{tile.source}."
    element: Element = {
        "name": tile.id,
        "title": tile.title,
        "model": MODEL,
        "explore": tile.source,
        "type": _KINDS[tile.show],
        "fields": [named + field for field in fields],
    }
    if pivots:
        element["pivots"] = [named + field for field in pivots]
    if hidden:
        element["hidden_fields"] = [named + field for field in hidden]
    filters = _filters(tile, source, definition)
    if filters:
        element["filters"] = {named + field: value for field, value in filters.items()}
    sorts = [named + sort for sort in _sorts(tile, source)]
    if sorts:
        element["sorts"] = sorts
    element["limit"] = str(_limit(tile))
    if pivots:
        element["column_limit"] = str(_MOST_PIVOTS)
    has_range = source.time is not None or (source.sql is not None and tile.window != "all")
    listen = {DATE: named + RANGE} if has_range else {}
    for name in page.filters:
        field = filter_field(source, name)
        if field is not None:
            listen[name.capitalize()] = named + field
    if listen:
        element["listen"] = listen
    element |= {"note_state": "collapsed", "note_display": "hover", "note_text": tile.help}
    return element | _drawing(tile, source, named)


def _fields(tile: Tile, source: Source) -> tuple[list[str], list[str], list[str]]:
    """The fields of a tile, which of them are pivoted, and which are queried but hidden."""
    by, figures = tile_columns(tile, source)
    # The key keeps equal rows separate and, with the sort order, determines which rows a limit keeps.
    sorted_by = (*((tile.order,) if tile.order else ()), *source.key)
    hidden = [name for number, name in enumerate(sorted_by) if name not in (*by, *sorted_by[:number])]
    if tile.show == "table":
        return [*by, *hidden], [], hidden
    if tile.show == "scatter":
        return [by[0], *hidden, *by[2:], figure_field(source, by[1])], list(by[2:]), hidden
    if tile.show == "gauge":
        return [age_field(figures[0])], [], []
    measures = [figure_field(source, name) for name in figures]
    if tile.names is not None:
        measures.append(names_field(tile))
    flags = [name for name in figures if name in source.columns and source.columns[name].type == "flag"]
    return [*by, *measures], list(by[1:]), [figure_field(source, name) for name in flags]


def _filters(tile: Tile, source: Source, definition: Definition) -> dict[str, str]:
    filters: dict[str, str] = {}
    if tile.window != "range" and len(windows_of(source, tiles_of(tile.source, definition))) > 1:
        filters[WINDOW] = WINDOW_VALUES[tile.window]
    if tile.where is not None:
        filters[rows_field(tile)] = "Yes"
    return filters


def _sorts(tile: Tile, source: Source) -> list[str]:
    by, figures = tile_columns(tile, source)
    if not by:
        return []
    # The last sort is by a column that identifies a row; a pivoted column does not.
    unique = source.key if tile.show in LISTS_ROWS else by[:1]
    if tile.order is not None:
        order = figure_field(source, tile.order) if tile.order in figures else tile.order
        return [f"{order} desc", *(name for name in unique if name != tile.order)]
    if by[0] == "date" or tile.show in ("area", "heatmap") or not figures:
        return list(dict.fromkeys([by[0], *unique]))
    return [f"{figure_field(source, figures[-1] if tile.show == 'box' else figures[0])} desc", *unique]


def _limit(tile: Tile) -> int:
    """The row limit. Pivots are not limited to the largest values, which Looker would do silently."""
    return MOST_ROWS if tile.show in ("area", "heatmap") else min(tile.limit, MOST_ROWS)


def _drawing(tile: Tile, source: Source, named: str) -> Element:
    drawn: Element = {}
    match tile.show:
        case "kpi" if tile.names is not None or tile.also:
            drawn |= {"show_comparison": True, "comparison_type": "value", "show_comparison_label": True}
        case "area" | "stacked_bars":
            drawn["stacking"] = "normal"
        case "donut":
            drawn |= {"value_labels": "legend", "inner_radius": 60}
        case "heatmap":
            drawn["conditional_formatting"] = [{"type": "along a scale...", "fields": None}]
        case "line" | "band" if tile.separate:
            drawn["y_axes"] = [
                {"orientation": side, "series": [{"id": named + name, "name": source.heading(name)}]}
                for side, name in zip(("left", "right"), tile.measures, strict=False)
            ]
        case _:
            pass
    if tile.scale == "log":
        drawn["y_axes"] = [{"type": "log"}]
    if tile.target is not None and tile.show in ("line", "band"):
        limit = {
            "reference_type": "line",
            "range_start": "max",
            "range_end": "min",
            "line_value": f"{tile.target.at_most:g}",
        }
        drawn["reference_lines"] = [limit | {"label": tile.target.label, "color": _STANDS_OUT}]
    if tile.target is not None and tile.show in ("kpi", "gauge"):
        drawn["conditional_formatting"] = [_beyond("greater than", tile.target.at_most, None)]
    if tile.highlight is not None:
        field = [named + tile.highlight.column]
        if tile.highlight.above is not None:
            drawn["conditional_formatting"] = [_beyond("greater than", tile.highlight.above, field)]
        else:
            drawn["conditional_formatting"] = [_beyond("not equal to", tile.highlight.other_than, field)]
    return drawn


def _beyond(kind: str, value: object, fields: list[str] | None) -> Element:
    return {"type": kind, "value": value, "font_color": _STANDS_OUT, "bold": True, "fields": fields}
