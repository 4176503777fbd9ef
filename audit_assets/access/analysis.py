"""Every statement that access may send, through Google's analyzer. It needs zetasql, a development dependency."""

from collections.abc import Mapping
from pathlib import Path

from audit_assets.access.misfits import Catalog
from audit_assets.access.model import Datasets, Policy
from audit_assets.access.statements import statements, view_text


def refused_statements(policy: Policy, place: Datasets, catalog: Catalog, cache: Path) -> tuple[int, tuple[str, ...]]:
    """How many statements there are, and what BigQuery would not take of them. Raises ImportError without zetasql."""
    from audit_assets.warehouse.analyzer import KINDS, AnalyzerError, BigQueryAnalyzer, load_analyzer_module

    load_analyzer_module(cache)
    typed = {
        f"{place.project}.{place.dataset}.{name}": [(column, KINDS[kind]) for column, kind in columns.items()]
        for name, columns in catalog.tables.items()
    }
    analyzer = BigQueryAnalyzer(typed)
    found: Mapping[str, str] = {
        **statements(policy, place, catalog.tables),
        # The analyzer looks into a view's query as a query; what it makes of `create view` is its own affair.
        **{f"views.yaml: {name} as a query": view_text(place, view) for name, view in policy.views.views.items()},
    }
    problems: list[str] = []
    for name, sql in found.items():
        try:
            analyzer.columns(sql)
        except AnalyzerError as error:
            problems.append(f"{name}: {error}")
    return len(found), tuple(problems)
