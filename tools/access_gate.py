"""Checks every statement that the access files lead to with Google's analyzer: `python -m tools.access_gate`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from audit_assets.access.cross_checks import Catalog, access_catalog
from audit_assets.access.load import load_policy
from audit_assets.access.model import Datasets, Policy
from audit_assets.access.statements import statements, view_text
from audit_assets.bi_export.mart_types import bigquery_types
from audit_assets.settings import PROJECT_ROOT, read_settings
from tools.analyzer import KINDS, AnalyzerError, BigQueryAnalyzer, load_analyzer_module


def statement_problems(
    policy: Policy, datasets: Datasets, catalog: Catalog, cache: Path
) -> tuple[int, tuple[str, ...]]:
    """The number of statements, and a line for each that BigQuery would refuse."""
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


def main() -> int:
    settings, catalog = read_settings(), access_catalog(bigquery_types())
    policy = load_policy(PROJECT_ROOT / "observability" / "access", catalog)
    datasets = Datasets(settings.bigquery_project, settings.bigquery_dataset, settings.bigquery_location)
    count, problems = statement_problems(policy, datasets, catalog, settings.home / "cache")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"Access: {count} statements, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
