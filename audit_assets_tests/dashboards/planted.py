"""A copy of the shipped dashboards in which an error is planted, and what the offline verification says of it."""

import contextlib
import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

from audit_assets.dashboards.definition import Definition
from audit_assets.dashboards.load import load_definition
from audit_assets.dashboards.twins.verification import Engines, both_engines, verify
from audit_assets.settings import PROJECT_ROOT, read_settings

SHIPPED = PROJECT_ROOT / "observability" / "dashboards" / "ai-audit"
_OPEN = contextlib.ExitStack()
COLLECTION = "metabase/collections/main/ai_copilot___observability"


@dataclass(frozen=True)
class Copy:
    """A folder like the shipped one."""

    folder: Path

    @property
    def definition(self) -> Definition:
        return load_definition(self.folder)

    def plant(self, file: str, old: str, new: str) -> None:
        """Write `new` where `old` is first."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def said(self) -> list[str]:
        """What the verification says, a line a problem."""
        return [str(problem) for problem in verify(self.folder, self.definition, engines())]


def copied(folder: Path) -> Copy:
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    return Copy(folder)


@functools.cache
def engines() -> Engines:
    """Both engines, for as long as the tests run: what is the same in two copies is asked once."""
    return _OPEN.enter_context(both_engines(read_settings().home / "cache"))
