"""The dashboards' shipped YAML in a folder of a test's own, to be broken there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audit_assets.dashboards.load import DefinitionError, load_definition
from audit_assets.settings import PROJECT_ROOT

SHIPPED = PROJECT_ROOT / "observability/dashboards/ai-audit"


class Copy:
    """A copy of the shipped definition."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "dashboards"
        shutil.copytree(SHIPPED, self.folder)

    def change(self, file: str, old: str, new: str) -> int:
        """Replaces the only or first `old` of a file; the line on which it was."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} holds no {old!r}"
        path.write_text(text.replace(old, new, 1))
        return text[: text.index(old)].count("\n") + 1

    def refusal(self) -> str:
        """What loading it says."""
        with pytest.raises(DefinitionError) as refused:
            load_definition(self.folder)
        return str(refused.value)


@pytest.fixture
def shipped(tmp_path: Path) -> Copy:
    return Copy(tmp_path)
