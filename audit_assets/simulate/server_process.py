"""Processes and ports of the embedded Postgres: running a program, telling a live server from a dead one."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from audit_assets.simulate.binaries import Account, PostgresError


def run(program: Path, arguments: Sequence[str], account: Account, cwd: Path, output: Path) -> int:
    """Run a Postgres program as `account`; what it and its children print is appended to `output`.

    In a session of its own, so that Ctrl-C at the caller's terminal does not reach the server.
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
                f"{program} may not be run ({error.strerror}): if its folder is mounted noexec, set TMPDIR "
                "to one that is not; else set AI_AUDIT_SOURCE_URL to a Postgres that runs"
            ) from None


def postmaster(data: Path) -> int | None:
    """The process that serves `data`, judged by its command line: a number may be another's by now."""
    pid = recorded_pid(data)
    return pid if pid is not None and str(data) in _command(pid) else None


def recorded_pid(data: Path) -> int | None:
    """The live process whose number `postmaster.pid` holds, whoever that is now."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError, PermissionError):
        return None
    return pid


def _command(pid: int) -> str:
    """The command line of a process; empty for one that has ended and was not waited for."""
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


def complaint(log: Path) -> str:
    """The last error a server or program printed, else its last line."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    errors = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    return (errors or lines or ["it printed nothing"])[-1]
