"""The Metabase collection as files of its serialisation: a dashboard a tab, a card of native SQL a tile."""

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence

import yaml

from audit_assets.dashboards.definition import Definition, Filter, Page, Show, Source, Tile
from audit_assets.dashboards.load import TABS
from audit_assets.dashboards.query import columns_of, statement
from audit_assets.dashboards.twins.grid import placed
from audit_assets.dashboards.twins.looker_names import CONNECTION, SPACE
from audit_assets.dashboards.twins.lookml import HEADER
from audit_assets.dashboards.twins.metabase_drawing import DISPLAYS, settings_of
from audit_assets.dashboards.twins.open_range import OpenRangeWriter

DATABASE = CONNECTION
_CREATOR = "internal@metabase.com"  # Metabase's own user, who is in every instance
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
    """An id of Metabase's form that is the same for the same names, always."""
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
    """Says ranges and filters in Metabase's tags; what stands in [[ ]] is left out where its tag has no value."""

    rest = " else 'Other'"

    def __init__(self, source: Source, tile: Tile | None = None) -> None:
        given_first, given_last = (f"[[cast({{{{{name}}}}} as date), ]]" for name in (FROM, TO))
        super().__init__(source, tile.window if tile is not None else "range", given_first, given_last)

    def narrowed(self, conditions: Sequence[str], filters: Mapping[Filter, str]) -> str:
        chosen = "".join(f" [[and {column} = {{{{{name}}}}}]]" for name, column in filters.items())
        return (" and ".join(conditions) or ("true" if chosen else "")) + chosen


def card_sql(tile: Tile, source: Source) -> str:
    """What a tile's card asks BigQuery, with tags."""
    by, figures = columns_of(tile, source)
    sql = statement(_TagWriter(source, tile), by, figures, tile)
    if tile.show == "gauge":
        return (
            f"select timestamp_diff(current_timestamp(), {figures[0]}, second) as seconds\nfrom (\n{sql}\n) as figures"
        )
    if tile.show == "funnel":  # a row a step
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
    """Named only: how to connect is each instance's own. A connection of this name must be there before the import."""
    return {
        "name": DATABASE,
        "engine": "bigquery-cloud-sdk",
        "description": "The dataset that holds the marts.",
        "serdes/meta": [{"id": DATABASE, "model": "Database"}],
    }


def _card_slug(tile: Tile) -> str:
    return slug(f"{tile.id} {tile.title}")


def _card(tile: Tile, page: Page, source: Source) -> Entity:
    key = entity_id("card", tile.id)
    return _native_card(key, tile.title, tile.help, _card_slug(tile), DISPLAYS[tile.show], card_sql(tile, source)) | {
        "visualization_settings": settings_of(tile, source),
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
    """What a filter offers."""
    source, column = _values_from(name, definition)
    sql = (
        f"select distinct {column}\nfrom {_TagWriter(source).rows()}\nwhere {column} is not null\norder by {column}"
        f"\nlimit {_MOST_VALUES}"
    )
    # It takes no value itself.
    sql = re.sub(r" ?\[\[.*?\]\]", "", sql)
    title = f"Values of {name}"
    return _native_card(
        entity_id("values", name), title, f"What the filter “{name}” offers.", slug(title), "table", sql
    )


def _values_from(name: Filter, definition: Definition) -> tuple[Source, str]:
    """The first mart that has the filter's column, else the first query; of events there are too many to ask."""
    found = [
        (
            source.table is None,
            "duration_ms" in source.columns,
            number,
            source,
            {**source.filters, **source.outer_filters}[name],
        )
        for number, source in enumerate(definition.metrics.sources.values())
        if name in source.answers_to
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
        "description": f"{page.description} Without From and To: the last seven UTC days.",
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
    for tile, place in placed(page, _HEIGHTS, _USUAL_HEIGHT):
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
    """SQL as a block, line by line."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _as_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _as_text)


def _written(entity: Entity) -> str:
    meta = {"serdes/meta": entity["serdes/meta"]}
    entity = {key: value for key, value in entity.items() if key not in meta} | meta  # last, as Metabase writes it
    return HEADER + yaml.dump(entity, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
