"""The Looker project as text: manifest, model, a view and an explore a source. Its dashboards: looker_dashboards.py."""

import re
from collections.abc import Mapping

from audit_assets.dashboards.definition import Column, Definition, Filter, Measure, Source, Tile, Unit, Window
from audit_assets.dashboards.twins.looker_names import (
    CONNECTION,
    DATASET,
    DEFAULT_RANGE,
    MODEL,
    PROJECT,
    RANGE,
    SPACE,
    WINDOW,
    WINDOW_VALUES,
    age_field,
    figure_field,
    names_field,
    rows_field,
    tiles_of,
    windows_of,
)
from audit_assets.dashboards.twins.lookml import Block, Sql, Word, document
from audit_assets.dashboards.twins.open_range import OpenRangeWriter

_FORMATS: Mapping[Unit, str] = {
    "count": "#,##0",
    "share": "0.0%",
    "percent": '0.0"%"',
    "milliseconds": '#,##0" ms"',
    "characters": "#,##0",
    "ratio": "0.00",
}
_CONSTANTS = (
    ("connection", CONNECTION, "The name of Looker's connection to BigQuery."),
    ("project", PROJECT, "The project of BigQuery."),
    ("dataset", DATASET, "The dataset that holds the tables."),
    ("app_url", "https://app.example.com", "Where the application is: links to workspaces lead there."),
    ("dashboards_url", "http://localhost:8050", "Where the built-in dashboards are: links to raw records lead there."),
)


def model_files(definition: Definition) -> dict[str, str]:
    """Path in the project → text, of everything but the dashboards."""
    sources = {name: one for name, one in definition.metrics.sources.items() if tiles_of(name, definition)}
    files = {"manifest.lkml": _manifest(), f"models/{MODEL}.model.lkml": _model()}
    for name, source in sources.items():
        files[f"views/{name}.view.lkml"] = _view(name, source, tiles_of(name, definition), _values(definition))
    explores = [_explore(name, source, tiles_of(name, definition)) for name, source in sources.items()]
    files[f"explores/{MODEL}.explore.lkml"] = document(explores)
    return files


class _Liquid(OpenRangeWriter):
    """Says ranges and filters in Looker's templates."""

    def __init__(self, view: str, source: Source, window: Window) -> None:
        day_after = f"cast({{% date_end {view}.{RANGE} %}} as timestamp)"
        given_last = f"date(timestamp_sub({day_after}, interval 1 microsecond)), "
        given_first = f"date(cast({{% date_start {view}.{RANGE} %}} as timestamp)), "
        super().__init__(source, window, given_first, given_last)
        self.view = view

    def chosen(self, name: Filter, column: str) -> str:
        return f"{{% condition {self.view}.{name}_filter %}} {column} {{% endcondition %}}"


class _Windowed(_Liquid):
    """The same for all stretches of time that tiles take: the parameter says which."""

    def __init__(self, view: str, source: Source, windows: tuple[Window, ...]) -> None:
        super().__init__(view, source, "range")
        self.others = [_Liquid(view, source, window) for window in windows if window != "range"]

    def first(self, days_before: int = 0) -> str:
        return self._by_window(super().first(days_before), [other.first(days_before) for other in self.others])

    def time(self) -> list[str]:
        if self.source.sql is not None:  # its days come through `first` and `last`
            return super().time()
        plain = OpenRangeWriter.time(_Liquid(self.view, self.source, "range"))
        conditions = [" and ".join(other.time()) for other in self.others]
        return [self._by_window(" and ".join(plain), conditions)] if plain else []

    def _by_window(self, usual: str, others: list[str]) -> str:
        if not others:
            return usual
        said = ""
        for number, (other, text) in enumerate(zip(self.others, others, strict=True)):
            word = "elsif" if number else "if"
            said += f"{{% {word} {self.view}.{WINDOW}._parameter_value == '{WINDOW_VALUES[other.window]}' %}}{text}"
        return f"{said}{{% else %}}{usual}{{% endif %}}"


def _manifest() -> str:
    constants = [
        Block("constant", name, [("value", value), ("export", Word("override_optional"))])
        for name, value, _ in _CONSTANTS
    ]
    comments = "".join(f"# {name}: {said}\n" for name, _, said in _CONSTANTS)
    text = document([("project_name", MODEL), *constants])
    return text.replace("\n\n", f"\n{comments}\n", 1)


def _model() -> str:
    return document(
        [
            ("connection", "@{connection}"),
            ("label", SPACE),
            ("include", "/views/*.view.lkml"),
            ("include", "/explores/*.explore.lkml"),
            ("include", "/dashboards/*.dashboard.lookml"),
            ("week_start_day", Word("monday")),
        ]
    )


def _explore(name: str, source: Source, tiles: list[Tile]) -> Block:
    fields: list[tuple[str, str | Word | Sql] | Block] = [
        ("label", source.title),
        ("description", source.description),
        ("group_label", SPACE),
    ]
    if source.table is not None:
        writer = _Windowed(name, source, windows_of(source, tiles))
        conditions = [*([source.where] if source.where else []), *writer.time()]
        fields.append(("sql_always_where", Sql(" and ".join(conditions))))
    if windows_of(source, tiles):
        fields.append(Block("always_filter", "", [("filters", Word(f'[{name}.{RANGE}: "{DEFAULT_RANGE}"]'))]))
    return Block("explore", name, fields)


def _values(definition: Definition) -> dict[Filter, str]:
    """Filter → the dimension whose values it offers: that of the first table that has one."""
    found: dict[Filter, str] = {}
    for name, source in definition.metrics.sources.items():
        for filters in (source.outer_filters, source.filters if source.table else {}):
            for key, column in filters.items():
                found.setdefault(key, f"{name}.{column}")
    return found


def _view(name: str, source: Source, tiles: list[Tile], values: Mapping[Filter, str]) -> str:
    windows = windows_of(source, tiles)
    fields: list[tuple[str, str | Word | Sql] | Block] = [("label", source.title)]
    if source.table is not None:
        fields.append(("sql_table_name", Sql(f"`@{{project}}.@{{dataset}}.{source.table}`")))
    else:
        sql = _Windowed(name, source, windows).filled((source.sql or "").strip())
        named = re.sub(r"\banalytics\.(\w+)", r"`@{project}.@{dataset}.\1`", sql)
        fields.append(Block("derived_table", "", [("sql", Sql(named))]))
    if windows:
        fields.append(
            Block("filter", RANGE, [("label", "Time range"), ("type", Word("date")), ("convert_tz", Word("no"))])
        )
    if len(windows) > 1:
        fields.append(_window_parameter(windows))
    if source.sql is not None:
        fields += [_filter(key, values.get(key)) for key in source.filters]
    links = {column: link for tile in tiles for column, link in _links(tile, source).items()}
    fields += [_dimension(key, column, links.get(key, {})) for key, column in source.columns.items()]
    fields += [_rows_dimension(tile) for tile in tiles if tile.where is not None]
    fields += [_measure(key, measure) for key, measure in source.measures.items()]
    fields += _more_measures(source, tiles)
    return document([Block("view", name, fields)])


def _filter(name: Filter, values: str | None) -> Block:
    fields: list[tuple[str, str | Word | Sql]] = [("label", f"{name.capitalize()} (filter)"), ("type", Word("string"))]
    if values is not None:
        fields += [("suggest_explore", Word(values.split(".")[0])), ("suggest_dimension", Word(values))]
    return Block("filter", f"{name}_filter", fields)


def _window_parameter(windows: tuple[Window, ...]) -> Block:
    allowed = [
        Block("allowed_value", "", [("label", "the whole range" if window == "range" else f"its last {window}"),
                                    ("value", WINDOW_VALUES[window])])
        for window in windows
    ]  # fmt: skip
    described = ("description", "Which stretch of the time range is counted, up to its end.")
    return Block(
        "parameter",
        WINDOW,
        [("label", "Window"), described, ("type", Word("unquoted")), ("default_value", "range"), *allowed],
    )


def _dimension(name: str, column: Column, links: Mapping[str, str]) -> Block:
    kinds = {"date": "date", "instant": "date_time", "text": "string", "number": "number", "flag": "yesno"}
    fields: list[tuple[str, str | Word | Sql] | Block] = [
        ("label", column.title),
        ("type", Word(kinds[column.type])),
        ("sql", Sql(f"${{TABLE}}.{name}")),
    ]
    if column.type in ("date", "instant"):
        fields += [("datatype", Word("date" if column.type == "date" else "timestamp")), ("convert_tz", Word("no"))]
    if column.type == "number":
        fields.append(("value_format", _FORMATS[column.unit]))
    fields += [Block("link", "", [("label", label), ("url", url)]) for label, url in links.items()]
    return Block("dimension", name, fields)


def _links(tile: Tile, source: Source) -> dict[str, dict[str, str]]:
    """Column → label → address, of the links of a table's rows that lead to a page of the application or of ours."""
    found: dict[str, dict[str, str]] = {}
    for link in tile.row_links:
        columns = [name for name in re.findall(r"\{(\w+)\}", link.href) if name in source.columns]
        if not columns or not link.href.startswith(("/", "{app}")):
            continue
        base = "@{dashboards_url}" if link.href.startswith("/") else "@{app_url}"
        value = rf"{{{{ {tile.source}.\1._value | url_encode }}}}"
        found.setdefault(columns[0], {})[link.label] = base + re.sub(
            r"\{(\w+)\}", value, link.href.removeprefix("{app}")
        )
    return found


def _rows_dimension(tile: Tile) -> Block:
    return Block(
        "dimension",
        rows_field(tile),
        [
            ("description", f"Rows that {tile.id} “{tile.title}” counts."),
            ("hidden", Word("yes")),
            ("type", Word("yesno")),
            ("sql", Sql(tile.where or "true")),
        ],
    )


def _measure(name: str, measure: Measure) -> Block:
    sql = measure.bigquery or measure.sql
    fields: list[tuple[str, str | Word | Sql]] = [("label", measure.title)]
    if measure.description:
        fields.append(("description", measure.description))
    if measure.unit == "instant":
        fields += [("type", Word("string")), ("sql", Sql(f"cast({sql} as string)"))]
    else:
        fields += [("type", Word("number")), ("sql", Sql(sql)), ("value_format", _FORMATS[measure.unit])]
    return Block("measure", name, fields)


def _more_measures(source: Source, tiles: list[Tile]) -> list[Block]:
    """Of columns that charts show as figures, of names below a figure, and how long ago an instant was."""
    wanted: dict[str, Block] = {}
    for tile in tiles:
        drawn = () if tile.show == "table" else tile.by[1:2] if tile.show == "scatter" else (*tile.measures, *tile.also)
        for name in drawn:
            column, measure = source.columns.get(name), source.measures.get(name)
            if column is not None and measure is None:
                wanted[figure_field(source, name)] = _largest(figure_field(source, name), name, column)
            elif measure is not None and measure.unit == "instant" and tile.show == "gauge":
                wanted[age_field(name)] = _age(age_field(name), measure)
        if tile.names is not None:
            wanted[names_field(tile)] = _names(tile)
    return list(wanted.values())


def _largest(field: str, name: str, column: Column) -> Block:
    value = f"${{TABLE}}.{name}"
    flag = column.type == "flag"
    fields: list[tuple[str, str | Word | Sql]] = [
        ("label", column.title),
        ("type", Word("max")),
        ("sql", Sql(f"case when {value} then 1 else 0 end" if flag else value)),
        ("value_format", "0" if flag else _FORMATS[column.unit]),
    ]
    return Block("measure", field, fields)


def _age(field: str, measure: Measure) -> Block:
    sql = f"timestamp_diff(current_timestamp(), {measure.bigquery or measure.sql}, second)"
    return Block(
        "measure",
        field,
        [
            ("label", f"{measure.title}, seconds ago"),
            ("type", Word("number")),
            ("sql", Sql(sql)),
            ("value_format", '#,##0" s"'),
        ],
    )


def _names(tile: Tile) -> Block:
    named = f"case when {tile.names_where} then {tile.names} end" if tile.names_where else f"{tile.names}"
    return Block(
        "measure",
        names_field(tile),
        [("label", "Which"), ("type", Word("string")), ("sql", Sql(f"string_agg(distinct {named}, ', ')"))],
    )
