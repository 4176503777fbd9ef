"""A copy of the shipped dashboards with a planted error, and the problems the offline verification finds."""

import contextlib
import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.definition.model import Definition
from audit_assets.settings import PROJECT_ROOT, read_settings
from tools.bi_check.verification import Engines, both_engines, verify

SHIPPED = PROJECT_ROOT / "observability" / "dashboards" / "ai-audit"
_OPEN = contextlib.ExitStack()
COLLECTION = "metabase/collections/main/ai_copilot___observability"


@dataclass(frozen=True)
class Copy:
    """A copy of the shipped folder."""

    folder: Path

    @property
    def definition(self) -> Definition:
        return load_definition(self.folder)

    def plant(self, file: str, old: str, new: str) -> None:
        """Replaces the first `old` by `new`."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def problems(self) -> list[str]:
        """The problems the verification finds, as text."""
        return [str(problem) for problem in verify(self.folder, self.definition, engines())]


def copied(folder: Path) -> Copy:
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    return Copy(folder)


@functools.cache
def engines() -> Engines:
    """Both engines, shared by all tests: a statement that is the same in two copies is checked once."""
    return _OPEN.enter_context(both_engines(read_settings().home / "cache"))
