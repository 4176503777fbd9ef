"""Runs the emulator as a process, in its own virtual environment."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT
from tools.leftover_processes import mark

_HERE = Path(__file__).parent
ENVIRONMENT = PROJECT_ROOT / ".venv" / "emulator"
PROJECT = "offline-project"
_STARTS_WITHIN = 60.0


class EmulatorError(Exception):
    """The emulator cannot be installed, or does not start."""


@dataclass(frozen=True)
class Emulator:
    """A running emulator: its address, its only project, its process and its log file."""

    endpoint: str
    project: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables with which this project uses the emulator."""
        return {
            "AI_AUDIT_WAREHOUSE_DESTINATION": "bigquery",
            "AI_AUDIT_BIGQUERY_ENDPOINT": self.endpoint,
            "AI_AUDIT_BIGQUERY_PROJECT": self.project,
        }


@contextmanager
def running_emulator(
    folder: Path, port: int = 0, project: str = PROJECT, data_folder: Path | None = None
) -> Generator[Emulator]:
    """Runs an emulator on 127.0.0.1 while the block runs, with the data in `data_folder` or empty. It logs to `folder`.

    Port 0 selects any free port. Raises EmulatorError if it cannot be installed or started.
    """
    python = installed_python()
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    log = folder / "emulator.log"
    command = [str(python), "-I", str(_HERE / "shim"), "start", "--project", project, "--log-level", "ERROR"]
    command += ["--rest-port", str(port), "--grpc-port", str(free_port())]
    command += ["--data-dir", str(data_folder)] if data_folder else ["--ephemeral"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "BQEMU_UPLOAD_STAGING_DIR": str(folder / "uploads"),
                **mark(),
            },
            start_new_session=True,  # Ctrl-C ends the parent, which then ends the emulator
        )
    emulator = Emulator(f"http://127.0.0.1:{port}", project, process, log)
    try:
        _wait_until_it_answers(emulator)
        yield emulator
    finally:
        _end(process)


def installed_python() -> Path:
    """The Python of the emulator's environment, which is created if it is missing or was installed from another lock.

    Raises EmulatorError if it cannot be installed.
    """
    lock = _HERE / "requirements.lock"
    python, stamp = ENVIRONMENT / "bin/python", ENVIRONMENT / ".installed"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise EmulatorError(f"no {uv.name} beside {Path(sys.executable).name}: run `make install`")
    # Created in a temporary folder and renamed: concurrent test processes must not see a partial environment.
    making = ENVIRONMENT.with_name(f"emulator-{os.getpid()}")
    install = [str(uv), "pip", "install", "--quiet", "--require-hashes", "--compile-bytecode"]
    try:
        for command in (
            [str(uv), "venv", "--quiet", "--relocatable", "--python", sys.executable, str(making)],
            [*install, "--python", str(making / "bin/python"), "-r", str(lock)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines() or ["no message"]
                raise EmulatorError(f"the emulator cannot be installed: {lines[-1].strip()}")
        (making / ".installed").write_text(wanted)
        if not (stamp.exists() and stamp.read_text() == wanted):
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            making.rename(ENVIRONMENT)
    except OSError:
        if not stamp.exists():  # another process was first
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return python


def _wait_until_it_answers(emulator: Emulator) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    address = f"{emulator.endpoint}/bigquery/v2/projects/{emulator.project}/datasets"
    while time.monotonic() < deadline:
        if emulator.process.poll() is not None:
            lines = emulator.log.read_text(errors="replace").strip().splitlines() or ["no message"]
            raise EmulatorError(
                f"the emulator ended with {emulator.process.returncode}: {lines[-1]}; see {emulator.log}"
            )
        try:
            if httpx.get(address, timeout=1).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise EmulatorError(f"the emulator does not answer within {_STARTS_WITHIN:.0f} s; see {emulator.log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue
