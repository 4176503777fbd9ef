"""The model of the dashboards' YAML: sources with their figures, and pages with their tiles."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from audit_assets.config.validation import FrozenModel
from audit_assets.text.formatting import ColumnType, Unit

Show = Literal[
    "kpi",
    "area",
    "line",
    "band",
    "donut",
    "box",
    "bars",
    "stacked_bars",
    "heatmap",
    "scatter",
    "funnel",
    "table",
    "gauge",
]
Window = Literal["range", "24h", "2d", "7d", "14d", "all"]
Filter = Literal["capability", "provider", "team", "owner", "activity", "workspace"]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
TileId = Annotated[str, StringConstraints(pattern=r"^T\d\d$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]

_TABLE = re.compile(r"\banalytics\.(\w+)")


def tables_in(sql: str) -> tuple[str, ...]:
    """The tables of `analytics` that a query reads."""
    return tuple(sorted(set(_TABLE.findall(sql))))


class Column(FrozenModel):
    """A column of a source."""

    type: ColumnType = Field(description="date, instant, text, number or flag")
    title: Text = Field(description="its heading")
    unit: Unit = Field(default="count", description="the unit of its numbers")


class Measure(FrozenModel):
    """A figure over the rows of a source."""

    sql: Text = Field(description="an aggregate that DuckDB and BigQuery understand")
    bigquery: Text | None = Field(default=None, description="the same in BigQuery's dialect, if it differs")
    unit: Unit = Field(description="its unit")
    title: Text = Field(description="its title in a tile")
    description: Text | None = Field(default=None, description="what a reader should know about it")


class Source(FrozenModel):
    """The data source of tiles: a table of the warehouse, or a query over several tables."""

    title: Text = Field(description="its name in a BI tool")
    description: Text = Field(description="what one row is")
    table: Name | None = Field(default=None, description="the table in `analytics`; or write sql")
    sql: Text | None = Field(default=None, description="a query with {filters}; or name a table")
    where: Text | None = Field(default=None, description="a condition on the rows of the table")
    time: Name | None = Field(default=None, description="the column that the time range applies to")
    filters: Mapping[Filter, Name] = Field(default={}, description="filter → the column it applies to")
    outer_filters: Mapping[Filter, Name] = Field(default={}, description="the same, on the rows of the query's result")
    filtered: Mapping[Filter, Text] = Field(default={}, description="an extra condition while a filter is set")
    key: tuple[Name, ...] = Field(default=(), description="columns that identify a row, last in every order")
    columns: Mapping[Name, Column] = Field(min_length=1, description="columns by name")
    measures: Mapping[Name, Measure] = Field(default={}, description="figures by name")

    @property
    def reads(self) -> tuple[str, ...]:
        """The tables the source reads."""
        return (self.table,) if self.table else tables_in(self.sql or "")

    @property
    def supported_filters(self) -> frozenset[str]:
        """The filters that apply to the source."""
        return frozenset(self.filters) | frozenset(self.outer_filters)

    def heading(self, name: str) -> str:
        """The title of the column or figure `name`."""
        return (self.measures.get(name) or self.columns[name]).title

    def unit(self, name: str) -> Unit:
        return (self.measures.get(name) or self.columns[name]).unit


class Metrics(FrozenModel):
    """All sources by name."""

    sources: Mapping[Name, Source] = Field(min_length=1, description="sources by name")


class Target(FrozenModel):
    """The upper limit that a figure should not exceed."""

    at_most: float = Field(description="the highest acceptable value")
    label: Text = Field(description="its label on the tile")


class Spark(FrozenModel):
    """A sparkline of a figure over the range, one point per UTC day."""

    source: Name = Field(description="a source with a date column")
    measure: Name = Field(description="one of its figures")


class Highlight(FrozenModel):
    """Which cells of a table are highlighted."""

    column: Name = Field(description="one of the tile's columns")
    above: float | None = Field(default=None, description="numbers above this are highlighted")
    other_than: Text | None = Field(default=None, description="texts other than this are highlighted")


class RowLink(FrozenModel):
    """A link at the end of each row; {column} is replaced by the row's value, {app}, {runbook} and {draft} by URLs."""

    label: Text = Field(description="its text")
    href: Text = Field(description="its URL")
    unless: Name | None = Field(
        default=None, description="a flag column; if it is true, the URL is built without its query string"
    )


class Tile(FrozenModel):
    """One tile of a page."""

    id: TileId = Field(description="T and two digits")
    title: Text = Field(description="its heading")
    help: Text = Field(description="what it shows, in a sentence or two")
    show: Show = Field(description="the kind of chart")
    source: Name = Field(description="a source of metrics.yaml")
    by: tuple[Name, ...] = Field(default=(), description="columns it is grouped by")
    measures: tuple[Name, ...] = Field(default=(), description="figures, or columns if it lists rows")
    also: tuple[Name, ...] = Field(default=(), description="secondary figures")
    where: Text | None = Field(default=None, description="a condition over the source's columns")
    window: Window = Field(default="range", description="its period: the range, or a period up to the range's end")
    order: Name | None = Field(default=None, description="the column or figure to sort by, largest first")
    limit: int = Field(default=5000, gt=0, le=20000, description="the maximum number of rows")
    width: int = Field(ge=1, le=12, description="its width in columns, of 12")
    spark: Spark | None = Field(default=None, description="a sparkline beside the figure")
    good: Literal["up", "down"] | None = Field(default=None, description="which direction of change is good")
    target: Target | None = Field(default=None, description="the upper limit of the figure")
    incidents: bool = Field(default=False, description="whether alerts are marked")
    scale: Literal["linear", "log"] = Field(default="linear", description="the scale of the value axis")
    separate: bool = Field(default=False, description="whether each figure has its own axis")
    link: Text | None = Field(default=None, description="the URL a click opens")
    names: Name | None = Field(default=None, description="a column whose values are listed below the figure")
    names_where: Text | None = Field(default=None, description="a condition on the listed values")
    highlight: Highlight | None = Field(default=None, description="cells to highlight")
    row_links: tuple[RowLink, ...] = Field(default=(), description="links at the end of each row")


class Page(FrozenModel):
    """One page."""

    page: Name = Field(description="its name in URLs and of its file")
    title: Text = Field(description="its title")
    description: Text = Field(description="its purpose")
    filters: tuple[Filter, ...] = Field(description="filters in addition to the time range")
    rows: tuple[tuple[Tile, ...], ...] = Field(min_length=1, description="tiles, row by row")

    @property
    def tiles(self) -> Iterator[Tile]:
        return (tile for row in self.rows for tile in row)


class Definition(FrozenModel):
    """All sources, and the pages in order."""

    metrics: Metrics
    pages: tuple[Page, ...]

    def source(self, name: str) -> Source:
        return self.metrics.sources[name]

    def page(self, name: str) -> Page | None:
        return next((page for page in self.pages if page.page == name), None)

    @property
    def reads(self) -> frozenset[str]:
        """Every table that is read by a source."""
        return frozenset(table for source in self.metrics.sources.values() for table in source.reads)

    @property
    def tiles(self) -> Iterator[tuple[Page, Tile]]:
        return ((page, tile) for page in self.pages for tile in page.tiles)
