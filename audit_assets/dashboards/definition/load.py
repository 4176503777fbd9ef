"""Loads the dashboards' YAML. Every error names the file, the line, the field and the fix."""

from collections.abc import Iterator
from pathlib import Path

from audit_assets.config.validation import InvalidFileError, M, Problem, did_you_mean, dotted, parse_model
from audit_assets.config.yaml_files import Document, FieldPath, unread_files
from audit_assets.dashboards.definition.model import Definition, Metrics, Page, Source, Tile

TABS = ("overview", "workspace", "capability")
PAGES = (*TABS, "audit_log")
LISTS_ROWS = ("table", "scatter")


class DefinitionError(Exception):
    """The dashboard definition is invalid. The message lists one problem per line: file, line, field and fix."""


def load_definition(folder: Path) -> Definition:
    """Loads the sources of `folder`/metrics.yaml and the pages of `folder`/vizro. Raises DefinitionError."""
    metrics, of_metrics = read_file(folder / "metrics.yaml", Metrics)
    problems: list[Problem] = [*_violations_of_sources(metrics, of_metrics)]
    pages: list[Page] = []
    seen: dict[str, str] = {}
    for name in PAGES:
        page, document = read_file(folder / "vizro" / f"{name}.yaml", Page)
        file = f"{name}.yaml"
        for field_path, message in _violations(page, name, metrics, seen):
            problems.append(Problem(file, document.line(field_path), dotted(field_path), message))
        pages.append(page)
    unread = unread_files(folder, ("metrics.yaml", "proofs.yaml"))
    unread += unread_files(folder / "vizro", [f"{name}.yaml" for name in PAGES])
    if problems or unread:
        raise DefinitionError("\n".join([*map(str, problems), *unread]))
    return Definition(metrics=metrics, pages=tuple(pages))


def read_file(path: Path, model: type[M]) -> tuple[M, Document]:
    """Reads a file as `model`, with the lines of its fields. Raises DefinitionError."""
    try:
        return parse_model(path.name, path.read_bytes(), model)
    except OSError as error:
        raise DefinitionError(
            f"{path}: {error.strerror}; set AI_AUDIT_DASHBOARDS to the folder of the dashboards"
        ) from None
    except InvalidFileError as error:
        raise DefinitionError(str(error)) from None


def _violations_of_sources(metrics: Metrics, document: Document) -> Iterator[Problem]:
    for name, source in metrics.sources.items():
        field_path: FieldPath = ("sources", name)
        if (source.table is None) == (source.sql is None):
            yield Problem(
                "metrics.yaml", document.line(field_path), dotted(field_path), "set exactly one of table and sql"
            )
        if source.sql is not None and source.where is not None:
            yield Problem(
                "metrics.yaml",
                document.line(field_path),
                dotted(field_path),
                "where does not combine with sql; move it into the sql",
            )
        for column in source.key:
            if column not in source.columns:
                yield Problem(
                    "metrics.yaml",
                    document.line((*field_path, "key")),
                    dotted((*field_path, "key")),
                    _unknown(column, source),
                )
        for filter_name, column in source.outer_filters.items():
            if column not in source.columns:
                at = (*field_path, "outer_filters", filter_name)
                yield Problem("metrics.yaml", document.line(at), dotted(at), _unknown(column, source))


def _violations(page: Page, name: str, metrics: Metrics, seen: dict[str, str]) -> Iterator[tuple[FieldPath, str]]:
    """Fields that are valid on their own but do not match the sources, the other tiles or each other."""
    if page.page != name:
        yield ("page",), f"is {page.page}, but the file is named {name}.yaml; use the same name for both"
    for row_number, row in enumerate(page.rows):
        if sum(tile.width for tile in row) != 12:
            yield ("rows", row_number), f"is {sum(tile.width for tile in row)} columns wide; widths must sum to 12"
        for number, tile in enumerate(row):
            field_path: FieldPath = ("rows", row_number, number)
            if tile.id in seen:
                yield (*field_path, "id"), f"{tile.id} is already the id of {seen[tile.id]}; choose another"
            seen[tile.id] = f"“{tile.title}”"
            for more, message in _violations_of_tile(tile, metrics):
                yield (*field_path, *more), message


def _violations_of_tile(tile: Tile, metrics: Metrics) -> Iterator[tuple[FieldPath, str]]:
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
        yield ("measures",), "is missing: the figures the tile shows"
    if tile.spark is not None:
        spark = metrics.sources.get(tile.spark.source)
        if spark is None or "date" not in spark.columns:
            yield ("spark", "source"), f"{tile.spark.source}: no such source with a date column"
        elif tile.spark.measure not in {*spark.measures, *spark.columns}:
            yield ("spark", "measure"), _unknown(tile.spark.measure, spark)
    for number, link in enumerate(tile.row_links):
        if link.unless is not None and link.unless not in source.columns:
            yield ("row_links", number, "unless"), _unknown(link.unless, source)
    if tile.highlight is not None and tile.highlight.column not in tile.measures:
        yield ("highlight", "column"), f"{tile.highlight.column}: not a column of the tile"
    if tile.show in LISTS_ROWS and not source.key:
        yield (
            ("source",),
            f"{tile.source} has no key; set key to the columns that identify a row, so that the limit is deterministic",
        )
    if tile.window != "all" and source.time is None and source.sql is None:
        yield ("window",), f"{tile.source} has no time column; write all"


def _unknown(name: str, source: Source) -> str:
    return (
        f"{name}: neither a column nor a figure of the source{did_you_mean(name, [*source.columns, *source.measures])}"
    )


def page_path(page: str) -> str:
    """The URL path of a page. Vizro serves the first page at the root."""
    return "/" if page == TABS[0] else f"/{page.replace('_', '-')}"
