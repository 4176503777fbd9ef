"""The shipped policy, and copies of it with a changed file."""

import shutil
from functools import cache
from pathlib import Path

from audit_assets.access.cross_checks import Catalog, access_catalog
from audit_assets.access.load import load_policy
from audit_assets.access.model import Datasets, Policy
from audit_assets.bi_export.mart_types import bigquery_types
from audit_assets.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "observability/access"
DATASETS = Datasets("mad-vibe-prod", "analytics", "US")


@cache
def known() -> Catalog:
    """The catalog of all tables."""
    return access_catalog(bigquery_types())


def shipped() -> Policy:
    return load_policy(FOLDER, known())


def altered(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy of the shipped files in `folder`; each change (file, old, new) replaces a text in one file."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    for file, old, new in changes:
        path = folder / f"{file}.yaml"
        text = path.read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {file}.yaml"
        path.write_text(text.replace(old, new))
    return folder


def owned(folder: Path) -> Path:
    """A copy without placeholder addresses."""
    altered(
        folder, ("groups", "@example.com", "@ai-audit.test"), ("groups", "@example-project.iam", "@ai-audit-test.iam")
    )
    return folder
