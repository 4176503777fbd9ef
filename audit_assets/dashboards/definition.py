"""What the dashboards' YAML may hold, as values: sources with their figures, and pages with their tiles."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Unit = Literal["count", "share", "percent", "milliseconds", "characters", "ratio", "instant"]
ColumnType = Literal["date", "instant", "text", "number", "flag"]
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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """A column of a source."""

    type: ColumnType = Field(description="date, instant, text, number or flag")
    title: Text = Field(description="what a heading calls it")
    unit: Unit = Field(default="count", description="what its numbers are counted in")


class Measure(_Frozen):
    """A figure over the rows of a source."""

    sql: Text = Field(description="an aggregate that DuckDB and BigQuery understand")
    bigquery: Text | None = Field(default=None, description="the same for BigQuery, where it says it otherwise")
    unit: Unit = Field(description="what it is counted in")
    title: Text = Field(description="what a tile calls it")
    description: Text | None = Field(default=None, description="what a reader should know of it")


class Source(_Frozen):
    """What tiles read: a table of the warehouse, or a query over several."""

    title: Text = Field(description="its name in a BI tool")
    description: Text = Field(description="what a row is")
    table: Name | None = Field(default=None, description="the table in `analytics`; or write sql")
    sql: Text | None = Field(default=None, description="a query with {filters}; or name a table")
    where: Text | None = Field(default=None, description="rows that are meant, of a table")
    time: Name | None = Field(default=None, description="the column that the time range applies to")
    filters: Mapping[Filter, Name] = Field(default={}, description="filter → the column it applies to")
    outer_filters: Mapping[Filter, Name] = Field(default={}, description="the same, over the rows the query gives")
    columns: Mapping[Name, Column] = Field(min_length=1, description="columns by name")
    measures: Mapping[Name, Measure] = Field(default={}, description="figures by name")

    @property
    def reads(self) -> tuple[str, ...]:
        """The tables it reads."""
        return (self.table,) if self.table else tables_in(self.sql or "")

    @property
    def answers_to(self) -> frozenset[str]:
        """The filters that narrow it."""
        return frozenset(self.filters) | frozenset(self.outer_filters)

    def heading(self, name: str) -> str:
        """What a reader calls the column or figure `name`."""
        return (self.measures.get(name) or self.columns[name]).title

    def unit(self, name: str) -> Unit:
        return (self.measures.get(name) or self.columns[name]).unit


class Metrics(_Frozen):
    """All sources by name."""

    sources: Mapping[Name, Source] = Field(min_length=1, description="sources by name")


class Target(_Frozen):
    """A limit that a figure should keep."""

    at_most: float = Field(description="the highest value that is well")
    label: Text = Field(description="how the tile words it")


class Spark(_Frozen):
    """The small line of a figure over the range, a point a UTC day."""

    source: Name = Field(description="a source that has days")
    measure: Name = Field(description="one of its figures")


class Highlight(_Frozen):
    """Which cells of a table stand out."""

    column: Name = Field(description="one of the tile's columns")
    above: float | None = Field(default=None, description="numbers above this stand out")
    other_than: Text | None = Field(default=None, description="texts other than this stand out")


class RowLink(_Frozen):
    """A link at the end of each row; {column} stands for the row's value, {app}, {runbook}, {draft} for addresses."""

    label: Text = Field(description="what is clicked")
    href: Text = Field(description="where it leads")


class Tile(_Frozen):
    """One tile of a page."""

    id: TileId = Field(description="T and two digits")
    title: Text = Field(description="its heading")
    help: Text = Field(description="what it shows, in a sentence or two")
    show: Show = Field(description="how it is drawn")
    source: Name = Field(description="a source of metrics.yaml")
    by: tuple[Name, ...] = Field(default=(), description="columns it is grouped by")
    measures: tuple[Name, ...] = Field(default=(), description="figures, or columns where it lists rows")
    also: tuple[Name, ...] = Field(default=(), description="figures shown beside")
    where: Text | None = Field(default=None, description="a condition over the source's columns")
    window: Window = Field(default="range", description="its time: range, or so much up to the range's end")
    order: Name | None = Field(default=None, description="what it is sorted by, largest first")
    limit: int = Field(default=5000, gt=0, le=20000, description="how many rows at most")
    width: int = Field(ge=1, le=12, description="of 12 columns")
    spark: Spark | None = Field(default=None, description="a small line beside the figure")
    good: Literal["up", "down"] | None = Field(default=None, description="which way is well")
    target: Target | None = Field(default=None, description="a limit to keep")
    incidents: bool = Field(default=False, description="whether alerts are marked")
    scale: Literal["linear", "log"] = Field(default="linear", description="of the value axis")
    separate: bool = Field(default=False, description="whether each figure has an axis of its own")
    link: Text | None = Field(default=None, description="where a click leads")
    names: Name | None = Field(default=None, description="a column whose values are named below the figure")
    names_where: Text | None = Field(default=None, description="which of them")
    highlight: Highlight | None = Field(default=None, description="cells that stand out")
    row_links: tuple[RowLink, ...] = Field(default=(), description="links of each row")


class Page(_Frozen):
    """One tab."""

    page: Name = Field(description="its name in addresses, that of the file")
    title: Text = Field(description="the tab's title")
    description: Text = Field(description="what it is for")
    filters: tuple[Filter, ...] = Field(description="filters beside the time range")
    rows: tuple[tuple[Tile, ...], ...] = Field(min_length=1, description="tiles, row by row")

    @property
    def tiles(self) -> Iterator[Tile]:
        return (tile for row in self.rows for tile in row)


class Definition(_Frozen):
    """All sources, and the pages in their order."""

    metrics: Metrics
    pages: tuple[Page, ...]

    def source(self, name: str) -> Source:
        return self.metrics.sources[name]

    def page(self, name: str) -> Page | None:
        return next((page for page in self.pages if page.page == name), None)

    @property
    def reads(self) -> frozenset[str]:
        """Every table that some source reads."""
        return frozenset(table for source in self.metrics.sources.values() for table in source.reads)

    @property
    def tiles(self) -> Iterator[tuple[Page, Tile]]:
        return ((page, tile) for page in self.pages for tile in page.tiles)
