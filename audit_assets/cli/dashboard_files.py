"""`audit dashboards generate` and `check`: the files for Looker and Metabase."""

from dataclasses import asdict
from typing import Annotated

import typer

from audit_assets.cli.screen import FAILED, AsJson, err, out, print_json
from audit_assets.dashboards.document import document
from audit_assets.dashboards.load import load_definition
from audit_assets.dashboards.twins.changes import Change
from audit_assets.settings import PROJECT_ROOT, read_settings


def generate(
    check_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where a file would change.")
    ] = False,
) -> None:
    """Write the Looker and Metabase files and the page that the YAML makes, and say which changed."""
    from audit_assets.dashboards.twins.bi_files import differences, generated_files, write

    folder = read_settings().dashboards_folder
    definition = load_definition(folder)
    files = generated_files(definition)
    changes = differences(folder, files) if check_only else write(folder, files)
    if folder.is_relative_to(PROJECT_ROOT):  # the page is about the repository's own
        changes += _page(document(definition), check_only)
    for change in changes:
        said = str(change) if check_only else f"{change.file}: {_DONE[change.kind]}"
        out.print(said, markup=False, soft_wrap=True)
    err.print(f"{len(files)} files, {len(changes)} {'not up to date' if check_only else 'changed'}")
    if check_only and changes:
        raise typer.Exit(FAILED)


def check(as_json: AsJson = False) -> None:
    """Load the dashboards, compare the Looker and Metabase files, and verify both offline. Exits 1 where anything is
    wrong."""
    from audit_assets.dashboards.twins.verification import check_bi_files

    settings = read_settings()
    folder = settings.dashboards_folder
    report = check_bi_files(folder, load_definition(folder), settings.home / "cache")
    if as_json:
        problems = [asdict(problem) for problem in report.problems]
        print_json(
            {"files": report.files, "statements": report.statements, "problems": problems, "skipped": report.skipped}
        )
    else:
        for problem in report.problems:
            out.print(str(problem), markup=False, soft_wrap=True)
        for skipped in report.skipped:
            err.print(f"not checked: {skipped}", markup=False, soft_wrap=True)
        said = "all well" if report.ok else f"{len(report.problems)} problems"
        err.print(f"{report.files} files, {report.statements} statements: {said}")
    if not report.ok:
        raise typer.Exit(FAILED)


def _page(text: str, check_only: bool) -> list[Change]:
    """Makes docs/ai-audit-dashboards.md hold `text`, unless it is only looked at. What that changes."""
    path = PROJECT_ROOT / "docs" / "ai-audit-dashboards.md"
    if path.exists() and path.read_text() == text:
        return []
    change = Change(f"docs/{path.name}", "changed" if path.exists() else "new")
    if not check_only:
        path.write_text(text)
    return [change]


_DONE = {"new": "written", "changed": "written anew", "gone": "removed"}
