"""Metabase's own validator of its serialisation, from npm, where it is installed: a development tool, never needed."""

import re
import shutil
import subprocess
from pathlib import Path

from audit_assets.rules.model import Problem
from audit_assets.settings import PROJECT_ROOT

INSTALL = "npm install --global @metabase/representations@1.2.0"
_SECONDS = 60
_FILE = re.compile(r"FAIL\s+(\S+)")


def validator() -> str | None:
    """The command, of this folder or of the machine; None where there is none."""
    return shutil.which("representations", path=str(PROJECT_ROOT / "node_modules" / ".bin")) or shutil.which(
        "representations"
    )


def schema_problems(folder: Path) -> list[Problem]:
    """What the validator says of the export in `folder`; nothing where it is not installed."""
    command = validator()
    if command is None:
        return []
    asked = [command, "validate-schema", "--folder", str(folder.resolve())]
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    problems: list[Problem] = []
    file = ""
    for line in done.stderr.splitlines():
        found = _FILE.match(line)
        if found:
            file = found[1]
        elif line.strip() and file:
            place, _, said = line.strip().partition(" ")
            problems.append(Problem(file, 1, place, f"{said} (Metabase's schema)"))
    if done.returncode and not problems:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        problems.append(Problem(".", 1, "", f"Metabase's validator ended with {done.returncode}: {said[-1]}"))
    return problems
