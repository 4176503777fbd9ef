"""Checks the Looker and Metabase files offline, with Google's analyzer and DuckDB: `python -m tools.bi_check`."""

import sys

from audit_assets.dashboards.definition.load import load_definition
from audit_assets.settings import read_settings
from tools.bi_check.verification import check_bi_files


def main() -> int:
    settings = read_settings()
    folder = settings.dashboards_folder
    report = check_bi_files(folder, load_definition(folder), settings.home / "cache")
    for problem in report.problems:
        print(problem, file=sys.stderr)
    for skipped in report.skipped:
        print(f"not checked: {skipped}", file=sys.stderr)
    print(f"Looker and Metabase: {report.statements} statements, {len(report.problems)} problems")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
