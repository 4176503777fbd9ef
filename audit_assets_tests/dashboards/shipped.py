"""A copy of the shipped dashboard YAML for tests that modify it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audit_assets.dashboards.definition.load import DefinitionError, load_definition
from audit_assets.settings import PROJECT_ROOT

SHIPPED = PROJECT_ROOT / "observability/dashboards/ai-audit"


class Copy:
    """A copy of the shipped definition."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "dashboards"
        shutil.copytree(SHIPPED, self.folder)

    def change(self, file: str, old: str, new: str) -> int:
        """Replaces the first `old` of a file and returns its line."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} holds no {old!r}"
        path.write_text(text.replace(old, new, 1))
        return text[: text.index(old)].count("\n") + 1

    def error_message(self) -> str:
        """The error message of loading it."""
        with pytest.raises(DefinitionError) as raised:
            load_definition(self.folder)
        return str(raised.value)


@pytest.fixture
def shipped(tmp_path: Path) -> Copy:
    return Copy(tmp_path)
