"""The dashboards' YAML to values: every error names the file, the line, the field and the mend."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from audit_assets.dashboards.definition import Definition, Metrics, Page, Source, Tile
from audit_assets.rules.complaints import complaints, dotted
from audit_assets.rules.document import Document, DocumentError, Place, read_document
from audit_assets.rules.model import Problem
from audit_assets.rules.spelling import did_you_mean

TABS = ("overview", "workspace", "capability")
PAGES = (*TABS, "audit_log")
LISTS_ROWS = ("table", "scatter")

M = TypeVar("M", bound=BaseModel)


class DefinitionError(Exception):
    """Dashboards that cannot be shown. One problem a line: file, line, field and mend."""


def load_definition(folder: Path) -> Definition:
    """The sources of `folder`/metrics.yaml and the pages of `folder`/vizro. Raises DefinitionError."""
    metrics, of_metrics = read_file(folder / "metrics.yaml", Metrics)
    problems: list[Problem] = [*_misfits_of_sources(metrics, of_metrics)]
    pages: list[Page] = []
    seen: dict[str, str] = {}
    for name in PAGES:
        page, document = read_file(folder / "vizro" / f"{name}.yaml", Page)
        file = f"{name}.yaml"
        for place, message in _misfits(page, name, metrics, seen):
            problems.append(Problem(file, document.line(place), dotted(place), message))
        pages.append(page)
    if problems:
        raise DefinitionError("\n".join(map(str, problems)))
    return Definition(metrics=metrics, pages=tuple(pages))


def _document(path: Path) -> Document:
    try:
        return read_document(path.read_bytes())
    except OSError as error:
        raise DefinitionError(f"{path}: {error.strerror}; name the folder in AI_AUDIT_DASHBOARDS") from None
    except DocumentError as error:
        raise DefinitionError(str(Problem(path.name, error.line, error.field, error.message))) from None


def read_file(path: Path, model: type[M]) -> tuple[M, Document]:
    """A file as values of `model`, and where its fields stand. Raises DefinitionError."""
    document = _document(path)
    try:
        return model.model_validate(document.values), document
    except ValidationError as error:
        raise DefinitionError("\n".join(map(str, complaints(path.name, document, model, error)))) from None


def _misfits_of_sources(metrics: Metrics, document: Document) -> Iterator[Problem]:
    for name, source in metrics.sources.items():
        place: Place = ("sources", name)
        if (source.table is None) == (source.sql is None):
            yield Problem("metrics.yaml", document.line(place), dotted(place), "name a table or write sql, one of them")
        if source.sql is not None and source.where is not None:
            yield Problem("metrics.yaml", document.line(place), dotted(place), "where belongs into its sql")
        for filter_name, column in source.outer_filters.items():
            if column not in source.columns:
                at = (*place, "outer_filters", filter_name)
                yield Problem("metrics.yaml", document.line(at), dotted(at), _unknown(column, source))


def _misfits(page: Page, name: str, metrics: Metrics, seen: dict[str, str]) -> Iterator[tuple[Place, str]]:
    """Fields that are well-formed each but do not fit the sources, the other tiles or one another."""
    if page.page != name:
        yield ("page",), f"is {page.page}, but the file is named {name}.yaml; give both one name"
    for row_number, row in enumerate(page.rows):
        if sum(tile.width for tile in row) != 12:
            yield ("rows", row_number), f"is {sum(tile.width for tile in row)} columns wide; widths sum to 12"
        for number, tile in enumerate(row):
            place: Place = ("rows", row_number, number)
            if tile.id in seen:
                yield (*place, "id"), f"{tile.id} is {seen[tile.id]} already"
            seen[tile.id] = f"“{tile.title}”"
            for more, message in _misfits_of_tile(tile, metrics):
                yield (*place, *more), message


def _misfits_of_tile(tile: Tile, metrics: Metrics) -> Iterator[tuple[Place, str]]:
    source = metrics.sources.get(tile.source)
    if source is None:
        yield ("source",), f"{tile.source}: no such source{did_you_mean(tile.source, metrics.sources)}"
        return
    for field, names in (("by", tile.by), ("measures", tile.measures), ("also", tile.also)):
        for name in names:
            known = name in source.columns or (name in source.measures and field != "by")
            if not known:
                yield (field,), _unknown(name, source)
    for field, name in (("order", tile.order), ("names", tile.names)):
        if name is not None and name not in source.columns and name not in source.measures:
            yield (field,), _unknown(name, source)
    if not tile.measures and tile.show != "scatter":
        yield ("measures",), "is missing: which figures it shows"
    if tile.spark is not None:
        spark = metrics.sources.get(tile.spark.source)
        if spark is None or "date" not in spark.columns:
            yield ("spark", "source"), f"{tile.spark.source}: no such source with a date"
        elif tile.spark.measure not in {*spark.measures, *spark.columns}:
            yield ("spark", "measure"), _unknown(tile.spark.measure, spark)
    if tile.highlight is not None and tile.highlight.column not in tile.measures:
        yield ("highlight", "column"), f"{tile.highlight.column}: none of the tile's columns"
    if tile.window != "all" and source.time is None and source.sql is None:
        yield ("window",), f"{tile.source} has no time; write all"


def _unknown(name: str, source: Source) -> str:
    return (
        f"{name}: neither a column nor a figure of the source{did_you_mean(name, [*source.columns, *source.measures])}"
    )


def path_of(page: str) -> str:
    """The address of a page. Vizro has the first at the root."""
    return "/" if page == TABS[0] else f"/{page.replace('_', '-')}"
