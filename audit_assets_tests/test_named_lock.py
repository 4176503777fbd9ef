"""A lock names its holder, and is free again however the holder ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit_assets.named_lock import LockHeldError, acquire_lock, is_locked, read_holder

_HOLD = """
import sys, time
from pathlib import Path
from audit_assets.named_lock import acquire_lock
acquire_lock(Path(sys.argv[1]), {"purpose": "a test"})
print("locked", flush=True)
time.sleep(60)
"""


def test_the_holder_is_named_to_a_second_process_and_a_kill_frees_the_lock(tmp_path: Path):
    path = tmp_path / "a/lock"
    assert not is_locked(path)
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    assert is_locked(path)
    with pytest.raises(LockHeldError) as error:
        acquire_lock(path, {"purpose": "another"}, timeout_seconds=0.1)
    assert error.value.holder == {"pid": holder.pid, "purpose": "a test"}
    assert path.stat().st_mode & 0o777 == 0o600
    holder.kill()
    holder.wait()
    assert not is_locked(path)
    os.close(acquire_lock(path, {"purpose": "another"}))
    assert read_holder(path) == {"pid": os.getpid(), "purpose": "another"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"purpose": "without a pid"}'])
def test_a_file_that_names_nobody_has_no_holder(tmp_path: Path, content: str):
    (tmp_path / "lock").write_text(content)
    assert read_holder(tmp_path / "lock") is None


def test_a_child_that_inherits_the_descriptor_holds_the_lock_until_it_ends(tmp_path: Path):
    path = tmp_path / "lock"
    descriptor = acquire_lock(path, {})
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    os.close(descriptor)
    assert is_locked(path)
    child.communicate(b"\n")
    assert not is_locked(path)
