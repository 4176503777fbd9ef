"""The smoke script for a real project: it is bash, names what it needs, and cleans up after itself."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from audit_assets.settings import PROJECT_ROOT

pytestmark = pytest.mark.requirement("R60")
SCRIPT = PROJECT_ROOT / "observability/bigquery/smoke.sh"
TOOLS = {
    "bq": 'echo "$@" >> "$LOG"; cat >/dev/null',
    "gcloud": "echo a-token",
    "curl": """echo '{"taxonomies": []}'""",
    "sleep": "exit 0",
}
NEEDED = ("basename", "bash", "cat", "date", "dirname", "grep", "rm", "sed", "tail")


def ran(folder: Path, tools: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with a PATH of these fake tools and of what every system has."""
    (folder / "tools").mkdir()
    for name, body in tools.items():
        path = folder / "tools" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    for name in NEEDED:
        (folder / "tools" / name).symlink_to(str(shutil.which(name)))
    given = {
        "PATH": str(folder / "tools"),
        "HOME": str(folder),
        "LOG": str(folder / "log"),
        "AI_AUDIT_HOME": str(folder / "home"),
        "NO_GCE_CHECK": "true",  # no look-up of a machine's own credentials
        **environment,
    }
    return subprocess.run([SCRIPT], env=given, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)


def test_the_script_is_bash_and_can_be_run():
    checked = subprocess.run(["bash", "-n", SCRIPT], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_it():
    checked = subprocess.run(["shellcheck", "--severity=warning", SCRIPT], capture_output=True, text=True)
    assert checked.stdout == ""


def test_without_its_tools_it_names_the_first_and_does_nothing(tmp_path: Path):
    done = ran(tmp_path, {"bq": TOOLS["bq"]}, AI_AUDIT_BIGQUERY_PROJECT="a-project")
    assert (done.returncode, done.stderr) == (2, "smoke.sh needs gcloud, which is not there\n")
    assert not (tmp_path / "log").exists()


def test_without_a_project_it_asks_for_one(tmp_path: Path):
    done = ran(tmp_path, TOOLS)
    assert (done.returncode, done.stderr) == (2, "name the project in AI_AUDIT_BIGQUERY_PROJECT\n")
    assert not (tmp_path / "log").exists()


def test_every_dataset_it_makes_it_deletes_and_what_fails_ends_it_with_1(tmp_path: Path):
    done = ran(tmp_path, TOOLS, AI_AUDIT_BIGQUERY_PROJECT="a-project")
    log = (tmp_path / "log").read_text()
    made = set(re.findall(r" mk --dataset a-project:(\w+)", log))
    assert len(made) == 2
    assert set(re.findall(r" rm -r -f -d (\w+)", log)) == made
    assert done.returncode == 1
    assert "FAIL  audit access apply" in done.stdout
    assert "is a placeholder" in done.stdout
    assert "SKIP  nobody may not read a view: its account is not given" in done.stdout
    assert re.search(r"\d+ passed, \d+ failed, \d+ skipped", done.stdout)
