"""A generated file that is not as it should be."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Change:
    """A file that is not as it should be: `file` below the dashboards' folder."""

    file: str
    kind: Literal["new", "changed", "gone"]

    def __str__(self) -> str:
        said = {"new": "is missing", "changed": "is not as generated", "gone": "is made by nothing any more"}[self.kind]
        return f"{self.file}: {said}; run `audit dashboards generate`"
