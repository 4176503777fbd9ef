"""Checks every access statement with Google's analyzer. It needs zetasql, a development dependency."""

from collections.abc import Mapping
from pathlib import Path

from audit_assets.access.cross_checks import Catalog
from audit_assets.access.model import Datasets, Policy
from audit_assets.access.statements import statements, view_text


def statement_problems(
    policy: Policy, datasets: Datasets, catalog: Catalog, cache: Path
) -> tuple[int, tuple[str, ...]]:
    """The number of statements, and a line for each that BigQuery would refuse. Raises ImportError without zetasql."""
    from audit_assets.warehouse.analyzer import KINDS, AnalyzerError, BigQueryAnalyzer, load_analyzer_module

    load_analyzer_module(cache)
    typed = {
        f"{datasets.project}.{datasets.dataset}.{name}": [(column, KINDS[kind]) for column, kind in columns.items()]
        for name, columns in catalog.tables.items()
    }
    analyzer = BigQueryAnalyzer(typed)
    found: Mapping[str, str] = {
        **statements(policy, datasets, catalog.tables),
        # The analyzer checks a view's query only when it is analysed as a query, not in `create view`.
        **{f"views.yaml: {name} as a query": view_text(datasets, view) for name, view in policy.views.views.items()},
    }
    problems: list[str] = []
    for name, sql in found.items():
        try:
            analyzer.columns(sql)
        except AnalyzerError as error:
            problems.append(f"{name}: {error}")
    return len(found), tuple(problems)
