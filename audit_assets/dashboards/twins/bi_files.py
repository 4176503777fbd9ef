"""The Looker and Metabase files beside the dashboards' YAML: what they should hold, and how the folder differs."""

from pathlib import Path

from audit_assets.dashboards.definition import Definition
from audit_assets.dashboards.twins.changes import Change
from audit_assets.dashboards.twins.looker import model_files
from audit_assets.dashboards.twins.looker_dashboards import dashboard_files
from audit_assets.dashboards.twins.metabase import metabase_files

FOLDERS = ("looker", "metabase")


def generated_files(definition: Definition) -> dict[str, str]:
    """Path below the dashboards' folder → text."""
    looker = {**model_files(definition), **dashboard_files(definition)}
    return {
        **{f"looker/{path}": text for path, text in looker.items()},
        **{f"metabase/{path}": text for path, text in metabase_files(definition).items()},
    }


def differences(folder: Path, files: dict[str, str]) -> list[Change]:
    """How `folder` differs from `files`, by file."""
    there = {
        path.relative_to(folder).as_posix(): path
        for name in FOLDERS
        for path in (folder / name).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    changes = [Change(file, "new") for file in files if file not in there]
    changes += [Change(file, "gone") for file in there if file not in files]
    changes += [
        Change(file, "changed")
        for file, text in files.items()
        if file in there and there[file].read_bytes() != text.encode()
    ]
    return sorted(changes, key=lambda change: change.file)


def write(folder: Path, files: dict[str, str]) -> list[Change]:
    """Makes `folder` hold `files`. What that changed."""
    changes = differences(folder, files)
    for change in changes:
        path = folder / change.file
        if change.kind == "gone":
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[change.file].encode())
    return changes
