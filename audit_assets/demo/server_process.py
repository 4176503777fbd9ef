"""Processes and ports of the embedded Postgres: running a program, and finding out whether a server runs."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from audit_assets.demo.postgres_files import Account, PostgresError


def run(program: Path, arguments: Sequence[str], account: Account, cwd: Path, output: Path) -> int:
    """Runs a Postgres program as `account`, appends the output of it and its children to `output`, and returns its exit
    code.

    It runs in a new session, so that Ctrl-C at the caller's terminal does not reach the server. Raises PostgresError.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    with output.open("ab") as log:
        try:
            return subprocess.run(
                [str(program), *arguments],
                cwd=cwd,
                env={**environment, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=False,
                user=account.uid if account.borrowed else None,
                group=account.gid if account.borrowed else None,
                extra_groups=[] if account.borrowed else None,
            ).returncode
        except PermissionError as error:
            raise PostgresError(
                f"{program} cannot be executed ({error.strerror}): if its folder is mounted noexec, set TMPDIR "
                "to another folder; otherwise set AI_AUDIT_SOURCE_URL to a running Postgres"
            ) from None


def postmaster(data: Path) -> int | None:
    """The process id of the server of `data`, verified by its command line, because the id may have been reused."""
    pid = recorded_pid(data)
    return pid if pid is not None and str(data) in _command(pid) else None


def recorded_pid(data: Path) -> int | None:
    """The process id in `postmaster.pid` if a process with that id runs. It may be an unrelated process."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError, PermissionError):
        return None
    return pid


def _command(pid: int) -> str:
    """The command line of a process; empty for a zombie."""
    if Path("/proc/self").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
        except (FileNotFoundError, ProcessLookupError):
            return ""
    listed = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return listed.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def last_error(log: Path) -> str:
    """The last error in the log of a server or program, else the log's last line."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    errors = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    return (errors or lines or ["it printed no output"])[-1]
