"""`audit access`: who may read which data in the warehouse. YAML files are the plan's input; every change is logged."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from audit_assets.access.apply import apply as apply_plan
from audit_assets.access.changes import Change
from audit_assets.access.cross_checks import Catalog, access_catalog
from audit_assets.access.document import DashboardNames, bi_folder_files, page_with_tables
from audit_assets.access.load import AccessFileError, load_policy, placeholders
from audit_assets.access.model import Datasets, Policy
from audit_assets.access.plan import Plan, read_state, state_without_access
from audit_assets.access.plan import plan as make_plan
from audit_assets.cli.clock import clock
from audit_assets.cli.output import FAILED, AsJson, err, out, print_json
from audit_assets.private_files import users_umask
from audit_assets.settings import PROJECT_ROOT, Settings, read_settings
from audit_assets.warehouse.access import AccessPlane

FOLDER = PROJECT_ROOT / "observability" / "access"
PAGE = PROJECT_ROOT / "docs" / "access.md"

_MARKS = {"opens": Text("+", "green"), "narrows": Text("-", "yellow"), "keeps": Text("·")}

access_app = typer.Typer(help="Access to the BigQuery warehouse, as code.", no_args_is_help=True)


@access_app.command("check")
def check(as_json: AsJson = False) -> None:
    """Load the files and compare them with each other, with the tables, and with the files generated from them. Exits 1
    if there is a problem."""
    try:
        policy, known = _policy()
    except AccessFileError as error:
        problems = str(error).splitlines()
    else:
        problems = [
            f"{file} is not as generated; run `audit access generate`" for file in _outdated_files(policy, known)
        ]
    if as_json:
        print_json({"problems": problems})
    else:
        for problem in problems:
            out.print(problem, markup=False, soft_wrap=True)
        err.print(f"access files: {f'{len(problems)} problems' if problems else 'no problems'}")
    if problems:
        raise typer.Exit(FAILED)


@access_app.command("plan")
def plan(
    offline: Annotated[
        bool, typer.Option("--offline", help="Print the SQL that grants everything, without connecting to BigQuery.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which access would be granted and revoked in BigQuery. Changes nothing. Exits 1 if there are changes."""
    policy, known = _policy()
    settings = read_settings()
    datasets = _datasets(settings)
    state = state_without_access(known) if offline else read_state(_plane(settings), policy, datasets, known)
    planned = make_plan(policy, datasets, state, known)
    if as_json:
        print_json({"changes": [_figures(change) for change in planned.changes], **_rest(planned)})
    elif offline:
        for change in planned.changes:
            out.print(f"-- {change.summary}\n{change.action.text}\n", markup=False, soft_wrap=True)
    else:
        _print(planned)
    if planned.changes and not offline:
        raise typer.Exit(FAILED)


@access_app.command("apply")
def apply(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Apply the plan after a confirmation. Prints a line of JSON for each change that is applied. Stops with exit code
    1 at the first change that BigQuery rejects."""
    policy, known = _policy()
    placeholder, *others = [*placeholders(FOLDER, policy), None]
    if placeholder is not None:
        more = ", ".join(str(other.line) for other in others if other is not None)
        raise AccessFileError(f"{placeholder}; the same on lines {more}" if more else str(placeholder))
    settings = read_settings()
    datasets, plane = _datasets(settings), _plane(settings)
    planned = make_plan(policy, datasets, read_state(plane, policy, datasets, known), known)
    _print(planned, to_stderr=True)
    if not planned.changes:
        return
    if not yes:
        typer.confirm(f"Apply these {len(planned.changes)} changes in {datasets.project}?", abort=True, err=True)
    for record in apply_plan(planned, plane, clock()):
        print_json(record)
    err.print(f"{len(planned.changes)} changes applied; `audit access plan` shows that none is left")


@access_app.command("generate")
def generate(
    check_only: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file would change.")] = False,
) -> None:
    """Generate Looker's folders, Metabase's collections and the tables in docs/access.md from the YAML files."""
    policy, known = _policy()
    changed = _outdated_files(policy, known)
    for file, path in changed.items():
        if not check_only:
            with users_umask():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_generated(policy, known)[path])
        out.print(f"{file}: {'is not as generated' if check_only else 'written'}", markup=False, soft_wrap=True)
    err.print(f"{len(changed)} files {'not up to date' if check_only else 'changed'}")
    if check_only and changed:
        raise typer.Exit(FAILED)


def _policy() -> tuple[Policy, Catalog]:
    from audit_assets.bi_export.mart_types import bigquery_types

    known = access_catalog(bigquery_types())
    return load_policy(FOLDER, known), known


def _datasets(settings: Settings) -> Datasets:
    return Datasets(settings.bigquery_project, settings.bigquery_dataset, settings.bigquery_location)


def _plane(settings: Settings) -> AccessPlane:
    from audit_assets.warehouse.bigquery.client import location_of
    from audit_assets.warehouse.bigquery.iam import open_plane

    return open_plane(location_of(settings))


def _generated(policy: Policy, known: Catalog) -> dict[Path, str]:
    from audit_assets.bi_export.looker import MODEL
    from audit_assets.bi_export.metabase import entity_id

    pages = [page for folder in policy.dashboards.folders for page in folder.pages]
    names = DashboardNames(MODEL, {page: entity_id("dashboard", page) for page in pages})
    files = {FOLDER / "generated" / name: text for name, text in bi_folder_files(policy, names).items()}
    return {**files, PAGE: page_with_tables(PAGE.read_text(), policy, known)}


def _outdated_files(policy: Policy, known: Catalog) -> dict[str, Path]:
    """The generated files that are missing or not as generated, by their path below the project."""
    files = _generated(policy, known)
    return {
        str(path.relative_to(PROJECT_ROOT)): path
        for path, text in files.items()
        if not path.exists() or path.read_text() != text
    }


def _figures(change: Change) -> dict[str, str]:
    return {"effect": change.effect, "target": change.target, "said": change.summary, "does": change.action.text}


def _rest(planned: Plan) -> dict[str, tuple[str, ...]]:
    return {"left_alone": planned.unmanaged, "waiting": planned.waiting}


def _print(planned: Plan, to_stderr: bool = False) -> None:
    console = err if to_stderr else out
    for change in planned.changes:
        console.print(Text.assemble(_MARKS[change.effect], " ", change.summary), soft_wrap=True)
    for reason in planned.waiting:
        err.print(f"waiting: {reason}", markup=False, soft_wrap=True)
    for reason in planned.unmanaged:
        err.print(f"left unchanged: {reason}", markup=False, soft_wrap=True)
    opens = sum(change.effect == "opens" for change in planned.changes)
    narrows = sum(change.effect == "narrows" for change in planned.changes)
    counted = f"{len(planned.changes)} changes, {opens} grant access and {narrows} reduce it"
    err.print(counted if planned.changes else "no changes: access matches the files")
