"""Runs `audit …` in this process, through its entry point."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PASSWORD = "open-sesame"


@dataclass(frozen=True)
class CommandResult:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, Any]:
        (line,) = self.out.splitlines()
        return json.loads(line)


Audit = Callable[..., CommandResult]


def error_line(result: CommandResult, code: int) -> str:
    """The single error line of a command that failed with `code` and printed nothing else."""
    assert result.code == code, result
    assert result.out == ""
    (line,) = result.err.splitlines()
    assert line.startswith("error ")
    return line
