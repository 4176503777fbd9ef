"""docs/ai-audit-dashboards.md, made from the definition: every tile, what it shows, and where its figure comes from."""

from collections.abc import Iterator

from audit_assets.dashboards.definition import Definition, Page
from audit_assets.dashboards.load import path_of

_WINDOWS = {
    "range": "the range",
    "24h": "24 hours up to the range's end",
    "2d": "2 UTC days",
    "7d": "7 UTC days",
    "14d": "14 UTC days",
    "all": "now",
}

_HEAD = """\
# The dashboards

<!-- Made by `audit dashboards generate` from observability/dashboards/ai-audit/; changes are overwritten. -->

`make demo` and `make dev` serve them beside Dagster at <http://localhost:8050>; `audit dashboards serve` serves them
alone. They need no account and ask nobody outside: a proxy in front of them says who may look (OIDC at the proxy; what
a reader may see of rows is the warehouse's to say). They read the published snapshot. All days are UTC days, all times
UTC.

| address | shows |
|---|---|
| `/overview?capability=code_review&from=2026-11-01&to=2026-11-07` | the Overview of that capability and those days |
| `/audit-overview?capability=code_review` | the same of the last 7 days: what messages lead to |
| `/workspace?range=30d&team=Legal&activity=inactive+7d` | the silent workspaces of a team |
| `/capability?capability=code_review` | one capability |
| `/audit-log?workspace=ws-0001&from=2026-11-01T08:00:00Z&to=2026-11-01T09:00:00Z` | its records, without content |
| `/data/T05?range=30d`, `/data/T05.csv?range=30d` | the rows behind a tile, as a page and as a file |

What a page shows follows from its address alone; filters only change it. `range` is one of `7d` (where nothing is
said), `14d`, `30d` and `90d`, up to now; `from` and `to` are days, both included. A filter may be given several times.
What cannot be used is named on the page, and something sensible is shown in its place.

A figure's difference is to the time of equal length right before. The day that is not over is marked "so far", is never
flagged as low, and is left alone by comparisons of whole days. An unknown outcome is neither success nor error. Where a
filter does not apply to a tile, the tile says so. `audit verify-kpis` recomputes the tiles from raw rows.

To change a tile, edit its YAML and run `audit dashboards check`: errors name file, line, field and mend. Then
`audit dashboards generate` writes the Looker project, the Metabase files and this page again.
"""


def document(definition: Definition) -> str:
    """The page, as it is committed."""
    return "\n".join(
        [_HEAD, *(line for page in definition.pages for line in _page(definition, page)), *_sources(definition)]
    )


def _page(definition: Definition, page: Page) -> Iterator[str]:
    yield f"## {page.title}"
    yield ""
    filters = ", ".join(f"`{name}`" for name in page.filters)
    yield f"{page.description} At `{path_of(page.page)}`; filters: time range, {filters}."
    yield ""
    yield "| tile | title | shows | figures | of | source |"
    yield "|---|---|---|---|---|---|"
    for tile in page.tiles:
        source = definition.source(tile.source)
        figures = ", ".join(source.heading(name) for name in (*tile.measures, *tile.also)) or "its rows"
        told = (tile.id, tile.title, _one_line(tile.help), figures, _WINDOWS[tile.window], f"`{tile.source}`")
        yield f"| {' | '.join(told)} |"
    yield ""


def _sources(definition: Definition) -> Iterator[str]:
    yield "## Sources and figures"
    yield ""
    yield "Each figure has one formula, used by the pages, Looker and Metabase."
    for name, source in definition.metrics.sources.items():
        yield ""
        yield f"### {name}"
        yield ""
        yield f"{_one_line(source.description)} Reads {', '.join(f'`{table}`' for table in source.reads)}."
        if source.measures:
            yield ""
            yield "| figure | formula | in | |"
            yield "|---|---|---|---|"
        for figure in source.measures.values():
            formula = _one_line(figure.sql).replace("|", "\\|")
            yield f"| {figure.title} | `{formula}` | {figure.unit} | {_one_line(figure.description or '')} |"
    yield ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
