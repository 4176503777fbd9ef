"""The policy that is shipped, and copies of it with something else in a file."""

import shutil
from functools import cache
from pathlib import Path

from audit_assets.access.catalog import catalog
from audit_assets.access.load import load_policy
from audit_assets.access.misfits import Catalog
from audit_assets.access.model import Datasets, Policy
from audit_assets.dashboards.twins.mart_types import known_tables
from audit_assets.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "observability/access"
PLACE = Datasets("mad-vibe-prod", "analytics", "US")


@cache
def known() -> Catalog:
    """All tables there are."""
    types = known_tables()
    return catalog({name: {one: each.bigquery for one, each in columns.items()} for name, columns in types.items()})


def shipped() -> Policy:
    return load_policy(FOLDER, known())


def altered(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy of the shipped files in `folder`; in each named file a text is replaced by another."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    for file, old, new in changes:
        path = folder / f"{file}.yaml"
        text = path.read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {file}.yaml"
        path.write_text(text.replace(old, new))
    return folder


def owned(folder: Path) -> Path:
    """A copy whose addresses stand in for nobody's."""
    altered(
        folder, ("groups", "@example.com", "@ai-audit.test"), ("groups", "@example-project.iam", "@ai-audit-test.iam")
    )
    return folder
