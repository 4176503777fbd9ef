"""How a tile is drawn in Metabase: the nearest of its displays, and that display's settings."""

from collections.abc import Mapping

from audit_assets.dashboards.definition import Show, Source, Tile, Unit
from audit_assets.dashboards.query import columns_of

DISPLAYS: Mapping[Show, str] = {
    "kpi": "scalar",
    "area": "area",
    "line": "line",
    "band": "line",
    "donut": "pie",
    "box": "bar",  # its box plot reads single values, not quantiles
    "bars": "row",
    "stacked_bars": "bar",
    "heatmap": "table",
    "scatter": "scatter",
    "funnel": "funnel",
    "table": "table",
    "gauge": "gauge",
}
_GOOD, _BAD, _SHADE = "#2E7D4F", "#B42318", "#3367D6"
_FORMATS: Mapping[Unit, Mapping[str, object]] = {
    "share": {"number_style": "percent", "decimals": 1},
    "percent": {"suffix": " %", "decimals": 1},
    "milliseconds": {"suffix": " ms", "decimals": 0},
    "ratio": {"decimals": 2},
}

Settings = dict[str, object]


def settings_of(tile: Tile, source: Source) -> Settings:
    """visualization_settings of a tile's card."""
    by, figures = columns_of(tile, source)
    settings: Settings = {}
    match tile.show:
        case "kpi":
            settings["scalar.field"] = figures[0]
        case "gauge":
            return _gauge(tile)
        case "funnel":
            return {"funnel.dimension": "class", "funnel.metric": "interactions", "funnel.type": "bar"}
        case "donut":
            settings |= {"pie.dimension": by[0], "pie.metric": figures[0], "pie.show_legend": True}
        case "scatter":
            settings |= {"graph.dimensions": [by[0], *by[2:]], "graph.metrics": [by[1]]}
            settings |= {"graph.x_axis.scale": "log", "graph.y_axis.scale": "log"}
        case "heatmap":
            settings |= {"table.pivot": True, "table.pivot_column": by[0], "table.cell_column": figures[0]}
            shade = {"columns": [figures[0]], "type": "range", "colors": ["#FFFFFF", _SHADE]}
            settings["table.column_formatting"] = [shade]
        case "table":
            settings |= _table(tile, by)
        case _:
            flags = [name for name, column in source.columns.items() if column.type == "flag"]
            settings |= _graph(tile, by, tuple(name for name in figures if name not in flags))  # a flag is no line
    formats = {f'["name","{name}"]': _column(name, source) for name in (*by, *figures)}
    return settings | {"column_settings": formats}


def _graph(tile: Tile, by: tuple[str, ...], figures: tuple[str, ...]) -> Settings:
    settings: Settings = {"graph.dimensions": list(by), "graph.metrics": list(figures)}
    if by[0] == "date":
        settings["graph.x_axis.scale"] = "timeseries"
    if tile.show in ("area", "stacked_bars"):
        settings["stackable.stack_type"] = "stacked"
    if tile.scale == "log":
        settings["graph.y_axis.scale"] = "log"
    if tile.separate:
        sides = dict(zip(figures, ("left", "right"), strict=False))
        settings["series_settings"] = {name: {"axis": side} for name, side in sides.items()}
    if tile.target is not None:
        goal = {"graph.goal_value": tile.target.at_most, "graph.goal_label": tile.target.label}
        settings |= {"graph.show_goal": True, **goal}
    return settings


def _table(tile: Tile, columns: tuple[str, ...]) -> Settings:
    settings: Settings = {"table.columns": [{"name": name, "enabled": True} for name in columns]}
    if tile.highlight is not None:
        above = tile.highlight.above
        beyond = (
            {"operator": "!=", "value": tile.highlight.other_than}
            if above is None
            else {"operator": ">", "value": above}
        )
        rule = {"columns": [tile.highlight.column], "type": "single", **beyond, "color": _BAD, "highlight_row": False}
        settings["table.column_formatting"] = [rule]
    return settings


def _gauge(tile: Tile) -> Settings:
    limit = tile.target.at_most if tile.target is not None else 60
    well = {"min": 0, "max": limit, "color": _GOOD, "label": tile.target.label if tile.target is not None else ""}
    late = {"min": limit, "max": 4 * limit, "color": _BAD, "label": ""}
    return {"gauge.segments": [well, late], "column_settings": {'["name","seconds"]': {"suffix": " s"}}}


def _column(name: str, source: Source) -> Settings:
    unit = source.unit(name)
    typed = name in source.measures or source.columns[name].type == "number"
    return {"column_title": source.heading(name), **(_FORMATS.get(unit, {}) if typed else {})}
