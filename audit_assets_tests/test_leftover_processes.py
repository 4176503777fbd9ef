"""An interrupted test run leaves no process behind."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from audit_assets.settings import PROJECT_ROOT
from tools.leftover_processes import TERMINATE_WITHIN_S, marked

# A typical test that is interrupted while `audit dev` starts: a Postgres of another user and session, a server with
# children, and a browser that ignores signals, in its own session with a helper process.
_TEST = """
import subprocess
from audit_assets_tests.conftest import postgres, source
from audit_assets_tests.environments import empty_home
from tools.dev_server import Dev, dev

def test_it(empty_home, monkeypatch):
    browser = "trap '' TERM INT HUP; sleep 300 & wait; sleep 300"
    subprocess.Popen(["sh", "-c", browser], start_new_session=True)
    def is_loaded(running):
        if len(running.tree()) > 4:
            open({flag!r}, "w").close()
        return False
    monkeypatch.setattr(Dev, "is_loaded", is_loaded)
    with dev(empty_home.process_environment(), empty_home.folder.with_name("dev.log")):
        pass
"""


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGKILL, ["-n", "1"]), (signal.SIGINT, [])],
    ids=["two processes, one killed", "Ctrl-C"],
)
def test_an_interrupted_run_leaves_no_process_behind(tmp_path: Path, number: signal.Signals, options: list[str]):
    file, flag, value = tmp_path / "test_run.py", tmp_path / "up", str(uuid.uuid4())
    file.write_text(_TEST.format(flag=str(flag)))
    plugin = ["-p", "audit_assets_tests.conftest", "-c", "pyproject.toml", f"--rootdir={tmp_path}"]
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *plugin, *options, str(file)],
            cwd=PROJECT_ROOT,
            env={**os.environ, "WHOLE_RUN": value},
            stdout=log,
            stderr=log,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        while not flag.exists():
            assert run.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        assert len(marked(value, "WHOLE_RUN")) > 6
        run.send_signal(number)
        run.wait(60)
        deadline = time.monotonic() + TERMINATE_WITHIN_S + 10
        while (left := marked(value, "WHOLE_RUN")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert [process.name() for process in left] == []
    finally:
        for process in marked(value, "WHOLE_RUN"):
            process.kill()
        run.wait()
