"""`audit …` run in this process, through its one entry."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PASSWORD = "open-sesame"


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, Any]:
        (line,) = self.out.splitlines()
        return json.loads(line)


Audit = Callable[..., Said]


def one_line(said: Said, code: int) -> str:
    """The error's one line."""
    assert said.code == code, said
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error ")
    return line
