"""`audit access`: who may read what of the warehouse, planned from YAML, applied, and written down."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from audit_assets.access.analysis import refused_statements
from audit_assets.access.applying import apply as carried_out
from audit_assets.access.catalog import catalog
from audit_assets.access.changes import Change
from audit_assets.access.document import page_with_tables
from audit_assets.access.load import AccessFileError, load_policy, placeholders
from audit_assets.access.misfits import Catalog
from audit_assets.access.model import Datasets, Policy
from audit_assets.access.plan import Plan
from audit_assets.access.plan import plan as planned
from audit_assets.access.state import nothing_there, read_state
from audit_assets.access.twins import DashboardNames, twin_files
from audit_assets.cli.screen import FAILED, AsJson, err, out, print_json
from audit_assets.settings import PROJECT_ROOT, Settings, read_settings
from audit_assets.warehouse.access import AccessPlane

FOLDER = PROJECT_ROOT / "observability" / "access"
PAGE = PROJECT_ROOT / "docs" / "access.md"

_MARKS = {"opens": Text("+", "green"), "narrows": Text("-", "yellow"), "keeps": Text("·")}

access_app = typer.Typer(help="Who may read what of the warehouse in BigQuery, as code.", no_args_is_help=True)


@access_app.command("check")
def check(as_json: AsJson = False) -> None:
    """Load the files, compare them with one another and with the tables, and have every statement they lead to analysed
    as BigQuery would. Exits 1 where anything is wrong."""
    settings = read_settings()
    statements, problems, skipped = 0, list[str](), list[str]()
    try:
        policy, known = _policy()
    except AccessFileError as error:
        problems += str(error).splitlines()
    else:
        problems += [f"{file} is not as generated; run `audit access generate`" for file in _drift(policy, known)]
        if importlib.util.find_spec("zetasql") is None:
            skipped.append("BigQuery's view of each statement: zetasql is not installed; `make install` installs it")
        else:
            statements, refused = refused_statements(policy, _place(settings), known, settings.home / "cache")
            problems += refused
    if as_json:
        print_json({"statements": statements, "problems": problems, "skipped": skipped})
    else:
        for problem in problems:
            out.print(problem, markup=False, soft_wrap=True)
        for one in skipped:
            err.print(f"not checked: {one}", markup=False, soft_wrap=True)
        said = "all well" if not problems else f"{len(problems)} problems"
        err.print(f"{statements} statements of access: {said}")
    if problems:
        raise typer.Exit(FAILED)


@access_app.command("plan")
def plan(
    offline: Annotated[
        bool, typer.Option("--offline", help="As if nobody had access yet, without a connection: the whole SQL.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Who would gain and lose what in BigQuery. Nothing is changed. Exits 1 where anything would be."""
    policy, known = _policy()
    settings = read_settings()
    place = _place(settings)
    state = nothing_there(known) if offline else read_state(_plane(settings), policy, place, known)
    found = planned(policy, place, state, known)
    if as_json:
        print_json({"changes": [_figures(one) for one in found.changes], **_rest(found)})
    elif offline:
        for change in found.changes:
            out.print(f"-- {change.said}\n{change.action.text}\n", markup=False, soft_wrap=True)
    else:
        _print(found)
    if found.changes and not offline:
        raise typer.Exit(FAILED)


@access_app.command("apply")
def apply(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Do what the plan says, after asking. Prints a line of JSON for each change that is done, and ends at the first
    that BigQuery refuses, with 1."""
    policy, known = _policy()
    stand_in, *others = [*placeholders(FOLDER, policy), None]
    if stand_in is not None:
        more = ", ".join(str(other.line) for other in others if other is not None)
        raise AccessFileError(f"{stand_in}; the same on lines {more}" if more else str(stand_in))
    settings = read_settings()
    place, plane = _place(settings), _plane(settings)
    found = planned(policy, place, read_state(plane, policy, place, known), known)
    _print(found, to_stderr=True)
    if not found.changes:
        return
    if not yes:
        typer.confirm(f"Do these {len(found.changes)} changes in {place.project}?", abort=True, err=True)
    for record in carried_out(found, plane, lambda: datetime.now(UTC)):
        print_json(record)
    err.print(f"{len(found.changes)} changes done; `audit access plan` shows that none is left")


@access_app.command("generate")
def generate(
    check_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where a file would change.")
    ] = False,
) -> None:
    """Write the folders of Looker, the collections of Metabase and the tables of docs/access.md that the YAML makes."""
    policy, known = _policy()
    changed = _drift(policy, known)
    for file, path in changed.items():
        if not check_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_generated(policy, known)[path])
        out.print(f"{file}: {'is not as generated' if check_only else 'written'}", markup=False, soft_wrap=True)
    err.print(f"{len(changed)} files {'not up to date' if check_only else 'changed'}")
    if check_only and changed:
        raise typer.Exit(FAILED)


def _policy() -> tuple[Policy, Catalog]:
    from audit_assets.dashboards.twins.mart_types import known_tables

    types = {table: {name: one.bigquery for name, one in columns.items()} for table, columns in known_tables().items()}
    known = catalog(types)
    return load_policy(FOLDER, known), known


def _place(settings: Settings) -> Datasets:
    return Datasets(settings.bigquery_project, settings.bigquery_dataset, settings.bigquery_location)


def _plane(settings: Settings) -> AccessPlane:
    from audit_assets.warehouse.bigquery.access_plane import open_plane
    from audit_assets.warehouse.bigquery.client import place_of

    return open_plane(place_of(settings))


def _generated(policy: Policy, known: Catalog) -> dict[Path, str]:
    from audit_assets.dashboards.twins.looker_names import MODEL
    from audit_assets.dashboards.twins.metabase import entity_id

    pages = [page for folder in policy.dashboards.folders for page in folder.pages]
    names = DashboardNames(MODEL, {page: entity_id("dashboard", page) for page in pages})
    files = {FOLDER / "generated" / name: text for name, text in twin_files(policy, names).items()}
    return {**files, PAGE: page_with_tables(PAGE.read_text(), policy, known)}


def _drift(policy: Policy, known: Catalog) -> dict[str, Path]:
    """The generated files that are not as they should be, by their path below the project."""
    files = _generated(policy, known)
    return {
        str(path.relative_to(PROJECT_ROOT)): path
        for path, text in files.items()
        if not path.exists() or path.read_text() != text
    }


def _figures(change: Change) -> dict[str, str]:
    return {"effect": change.effect, "target": change.target, "said": change.said, "does": change.action.text}


def _rest(found: Plan) -> dict[str, tuple[str, ...]]:
    return {"left_alone": found.left_alone, "waiting": found.waiting}


def _print(found: Plan, to_stderr: bool = False) -> None:
    screen = err if to_stderr else out
    for change in found.changes:
        screen.print(Text.assemble(_MARKS[change.effect], " ", change.said), soft_wrap=True)
    for said in found.waiting:
        err.print(f"waits: {said}", markup=False, soft_wrap=True)
    for said in found.left_alone:
        err.print(f"left alone: {said}", markup=False, soft_wrap=True)
    opens = sum(change.effect == "opens" for change in found.changes)
    narrows = sum(change.effect == "narrows" for change in found.changes)
    counted = f"{len(found.changes)} changes, {opens} give access and {narrows} narrow it"
    err.print(counted if found.changes else "access is as the files say")
