"""Generates the Metabase export: cards, parameters and dashboards from the definition."""

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence

import yaml

from audit_assets.bi_export.looker import CONNECTION, HEADER, SPACE
from audit_assets.bi_export.tiles import OpenRangeWriter, place_tiles
from audit_assets.dashboards.definition.load import TABS
from audit_assets.dashboards.definition.model import Definition, Filter, Page, Show, Source, Tile
from audit_assets.dashboards.query.sql import statement, tile_columns
from audit_assets.text.formatting import Unit

DISPLAYS: Mapping[Show, str] = {
    "kpi": "scalar",
    "area": "area",
    "line": "line",
    "band": "line",
    "donut": "pie",
    "box": "bar",  # Metabase's box plot needs single values, not quantiles
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


def card_settings(tile: Tile, source: Source) -> Settings:
    """The visualization_settings of a tile's card."""
    by, figures = tile_columns(tile, source)
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
            settings |= _graph(tile, by, tuple(name for name in figures if name not in flags))  # a flag is not a line
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


DATABASE = CONNECTION
_CREATOR = "internal@metabase.com"  # Metabase's internal user, which exists in every instance
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_ID_LENGTH = 21
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "ai-audit-observability/metabase")
_HEIGHTS: Mapping[Show, int] = {"kpi": 3, "table": 9}
_USUAL_HEIGHT = 6
_MOST_VALUES = 500

FROM, TO = "from", "to"
_TAG = re.compile(r"\{\{(\w+)\}\}")

Entity = dict[str, object]


def entity_id(*names: str) -> str:
    """A deterministic id in Metabase's format for these names."""
    number = int.from_bytes(hashlib.sha256("/".join(names).encode()).digest())
    return "".join(_ALPHABET[number >> 6 * place & 63] for place in range(_ID_LENGTH))


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def metabase_files(definition: Definition) -> dict[str, str]:
    """Path below the export's folder → text."""
    home = f"collections/main/{slug(SPACE)}"
    files: dict[str, Entity] = {
        f"{home}.yaml": _collection(),
        f"databases/{slug(DATABASE)}/{slug(DATABASE)}.yaml": _database(),
    }
    pages = [page for page in definition.pages if page.page in TABS]
    filters: dict[Filter, None] = {name: None for page in pages for name in page.filters}
    for name in filters:
        files[f"{home}/values_of_{name}.yaml"] = _values_card(name, definition)
    for page in pages:
        files[f"{home}/{page.page}.yaml"] = _dashboard(page, definition)
        for tile in page.tiles:
            files[f"{home}/{page.page}/{_card_slug(tile)}.yaml"] = _card(tile, page, definition.source(tile.source))
    return {path: _written(entity) for path, entity in files.items()}


class _TagWriter(OpenRangeWriter):
    """Writes ranges and filters as Metabase tags; text in [[ ]] is left out if its tag has no value."""

    rest = " else concat('Other', chr(160))"  # names do not end with this space, and a capability may be named Other

    def __init__(self, source: Source, tile: Tile | None = None) -> None:
        given_first, given_last = (f"[[cast({{{{{name}}}}} as date), ]]" for name in (FROM, TO))
        super().__init__(source, tile.window if tile is not None else "range", given_first, given_last)

    def narrowed(self, conditions: Sequence[str], filters: Mapping[Filter, str]) -> str:
        more = {name: f" and {condition}" for name, condition in self.source.filtered.items()}
        chosen = "".join(f" [[and {column} = {{{{{name}}}}}{more.get(name, '')}]]" for name, column in filters.items())
        return (" and ".join(conditions) or ("true" if chosen else "")) + chosen


def card_sql(tile: Tile, source: Source) -> str:
    """The BigQuery SQL of a tile's card, with tags."""
    by, figures = tile_columns(tile, source)
    sql = statement(_TagWriter(source, tile), by, figures, tile)
    if tile.show == "gauge":
        return (
            f"select timestamp_diff(current_timestamp(), {figures[0]}, second) as seconds\nfrom (\n{sql}\n) as figures"
        )
    if tile.show == "funnel":  # one row per step
        steps = [
            f"select {number} as step, '{source.heading(name)}' as class, {name} as interactions from figures"
            for number, name in enumerate(figures, 1)
        ]
        return f"with figures as (\n{sql}\n)\n" + "\nunion all\n".join(steps) + "\norder by step"
    return sql


def _collection() -> Entity:
    described = "Adoption and health of the copilot, from its audit log."
    return {
        "name": SPACE,
        "entity_id": entity_id("collection"),
        "slug": slug(SPACE),
        "description": described,
        "serdes/meta": _meta("Collection", entity_id("collection"), slug(SPACE)),
    }


def _database() -> Entity:
    """The database by name only. Connection details are configured in each instance, which must have a connection of
    this name before the import."""
    return {
        "name": DATABASE,
        "engine": "bigquery-cloud-sdk",
        "description": "The dataset with the marts.",
        "serdes/meta": [{"id": DATABASE, "model": "Database"}],
    }


def _card_slug(tile: Tile) -> str:
    return slug(f"{tile.id} {tile.title}")


def _card(tile: Tile, page: Page, source: Source) -> Entity:
    key = entity_id("card", tile.id)
    return _native_card(key, tile.title, tile.help, _card_slug(tile), DISPLAYS[tile.show], card_sql(tile, source)) | {
        "visualization_settings": card_settings(tile, source),
        "dashboard_id": entity_id("dashboard", page.page),
    }


def _native_card(key: str, name: str, description: str, label: str, display: str, sql: str) -> Entity:
    tags = [_tag(key, tag) for tag in dict.fromkeys(_TAG.findall(sql))]
    stage = {"lib/type": "mbql.stage/native", "native": sql, "template-tags": tags}
    return {
        "name": name,
        "entity_id": key,
        "description": description,
        "display": display,
        "type": "question",
        "creator_id": _CREATOR,
        "collection_id": entity_id("collection"),
        "dataset_query": {"lib/type": "mbql/query", "database": DATABASE, "stages": [stage]},
        "parameters": [_card_parameter(tag) for tag in tags],
        "visualization_settings": {},
        "serdes/meta": _meta("Card", key, label),
    }


def _values_card(name: Filter, definition: Definition) -> Entity:
    """The card with the values of a filter."""
    source, column = _values_from(name, definition)
    sql = (
        f"select distinct {column}\nfrom {_TagWriter(source).rows()}\nwhere {column} is not null\norder by {column}"
        f"\nlimit {_MOST_VALUES}"
    )
    # The card itself has no filters.
    sql = re.sub(r" ?\[\[.*?\]\]", "", sql)
    title = f"Values of {name}"
    return _native_card(
        entity_id("values", name), title, f"The values of the filter “{name}”.", slug(title), "table", sql
    )


def _values_from(name: Filter, definition: Definition) -> tuple[Source, str]:
    """The first mart that has the filter's column, else the first query. Events are last: there are too many."""
    found = [
        (
            source.table is None,
            "duration_ms" in source.columns,
            number,
            source,
            {**source.filters, **source.outer_filters}[name],
        )
        for number, source in enumerate(definition.metrics.sources.values())
        if name in source.supported_filters
    ]
    *_, source, column = min(found, key=lambda entry: entry[:3])
    return source, column


def _tag(card: str, name: str) -> Entity:
    date = name in (FROM, TO)
    return {
        "type": "date" if date else "text",
        "name": name,
        "id": _uuid(card, name),
        "display-name": name.capitalize(),
        "required": False,
    }


def _card_parameter(tag: Entity) -> Entity:
    return {
        "id": tag["id"],
        "name": tag["display-name"],
        "slug": tag["name"],
        "type": _parameter_type(str(tag["name"])),
        "target": ["variable", ["template-tag", tag["name"]]],
    }


def _dashboard(page: Page, definition: Definition) -> Entity:
    key = entity_id("dashboard", page.page)
    return {
        "name": page.title,
        "entity_id": key,
        "description": f"{page.description} Default range: the last seven UTC days.",
        "creator_id": _CREATOR,
        "collection_id": entity_id("collection"),
        "width": "full",
        "auto_apply_filters": True,
        "parameters": [_parameter(page, name) for name in (FROM, TO, *page.filters)],
        "dashcards": _dashcards(page, definition),
        "serdes/meta": _meta("Dashboard", key, page.page),
    }


def _parameter(page: Page, name: str) -> Entity:
    parameter: Entity = {
        "id": _uuid(page.page, name),
        "name": name.capitalize(),
        "slug": name,
        "type": _parameter_type(name),
        "sectionId": "date" if name in (FROM, TO) else "string",
    }
    if name in (FROM, TO):
        return parameter
    config = {"card_id": entity_id("values", name), "value_field": ["field", {"base-type": "type/Text"}, name]}
    values = {"values_query_type": "list", "values_source_type": "card", "values_source_config": config}
    return parameter | {"isMultiSelect": False} | values


def _parameter_type(name: str) -> str:
    return "date/single" if name in (FROM, TO) else "string/="


def _dashcards(page: Page, definition: Definition) -> list[Entity]:
    cards: list[Entity] = []
    for tile, place in place_tiles(page, _HEIGHTS, _USUAL_HEIGHT):
        at: Entity = {"row": place.row, "col": place.column, "size_x": place.width, "size_y": place.height}
        cards.append(_dashcard(tile, page, definition.source(tile.source), at))
    return cards


def _dashcard(tile: Tile, page: Page, source: Source, at: Entity) -> Entity:
    key, card = entity_id("dashcard", page.page, tile.id), entity_id("card", tile.id)
    used = set(_TAG.findall(card_sql(tile, source)))
    mappings = [
        {"parameter_id": _uuid(page.page, name), "card_id": card, "target": ["variable", ["template-tag", name]]}
        for name in (FROM, TO, *page.filters)
        if name in used
    ]
    path = [{"id": entity_id("dashboard", page.page), "model": "Dashboard"}, {"id": key, "model": "DashboardCard"}]
    more: Entity = {"parameter_mappings": mappings, "visualization_settings": {}, "serdes/meta": path}
    return {"entity_id": key, "card_id": card} | at | more


def _meta(model: str, key: str, label: str) -> list[Entity]:
    return [{"id": key, "label": label, "model": model}]


def _uuid(*names: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "/".join(names)))


class _Dumper(yaml.SafeDumper):
    """Writes multi-line SQL as a block."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _as_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _as_text)


def _written(entity: Entity) -> str:
    meta = {"serdes/meta": entity["serdes/meta"]}
    entity = {key: value for key, value in entity.items() if key not in meta} | meta  # last, as in Metabase's exports
    return HEADER + yaml.dump(entity, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
