"""No other user can read the files of a home, whatever the umask of the commands."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit_assets.private_files import restrict_existing
from audit_assets_tests.environments import Home, bare_home
from audit_assets_tests.scenarios.modes import open_to_others

# Each runs as from a shell or cron, one after the other in one home.
_COMMANDS = (
    ["build"],
    ["sync", "--mode", "delta"],
    ["alerts", "deliver"],
    ["watchdog"],
    ["dashboards", "check"],
)


def run(home: Home, *arguments: str, umask: int) -> subprocess.CompletedProcess[str]:
    """Runs `audit …` in a separate process with that umask."""
    command = [sys.executable, "-m", "audit_assets.cli", *arguments]
    return subprocess.run(
        command, env=home.process_environment(), umask=umask, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.fixture
def fresh(postgres: str, tmp_path: Path) -> Iterator[Home]:
    with bare_home(postgres, tmp_path) as home:
        yield home


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o000, 0o022], ids=oct)
def test_no_file_of_a_home_is_readable_by_others_after_every_kind_of_command(fresh: Home, umask: int):
    fresh.insert(40)
    for command in _COMMANDS:
        done = run(fresh, *command, umask=umask)
        assert done.returncode == 0 or command == ["watchdog"], done.stderr[-2000:]
    for name in ("warehouse.duckdb", "alerts.db", "published", "dagster", "state.json"):
        assert (fresh.folder / name).exists(), name
    assert open_to_others(fresh.folder) == []


def test_what_an_earlier_version_left_readable_is_restricted_once_and_reported(fresh: Home):
    older = fresh.folder / "published/ai_audit_daily"
    older.mkdir(parents=True, mode=0o755)
    for path, mode in ((older / "a.parquet", 0o444), (fresh.folder / "alerts.log", 0o644), (fresh.folder / "x", 0o666)):
        path.touch()
        path.chmod(mode)
    fresh.folder.chmod(0o755)

    first = run(fresh, "rules", "list", umask=0o022)

    assert open_to_others(fresh.folder) == []
    assert stat.S_IMODE((older / "a.parquet").stat().st_mode) == 0o400
    assert f"files and folders of {fresh.folder} were readable by others; they no longer are" in first.stderr

    (fresh.folder / "published").chmod(0o750)
    assert restrict_existing(fresh.folder) == 0
    assert open_to_others(fresh.folder) == [f"{fresh.folder / 'published'} 750"], "shared on purpose"


def test_links_and_files_of_other_users_are_left_as_they_are(tmp_path: Path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.touch()
    outside.chmod(0o644)
    (home / "link").symlink_to(outside)
    others = home / "others"
    others.touch()
    if os.geteuid() == 0:
        os.chown(others, 65534, 65534)
    others.chmod(0o644)

    restrict_existing(home)

    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert stat.S_IMODE(others.stat().st_mode) == (0o644 if os.geteuid() == 0 else 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_home_of_another_user_waits_for_a_command_of_its_owner(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    assert restrict_existing(home) == 0
    assert list(home.iterdir()) == []


def test_a_file_that_a_person_asked_for_has_the_permissions_of_their_umask(tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from audit_assets.private_files import *; restrict_new_files()\n"
        "with users_umask(): Path(sys.argv[1]).touch()\n"
        "Path(sys.argv[2]).touch()"
    )
    asked, own = tmp_path / "asked", tmp_path / "own"
    subprocess.run([sys.executable, "-c", script, str(asked), str(own)], umask=0o027, check=True)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (asked, own)] == [0o640, 0o600]
