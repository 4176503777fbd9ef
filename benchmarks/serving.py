"""Runs `audit dev` on a private home, with access to its CPU usage, GraphQL API and disk usage."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.snapshot import read_manifest
from benchmarks.figure import BenchmarkError
from benchmarks.home import Home

_LAUNCH_RUN = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_RUN = "query($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"
_LAUNCH_BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    __typename ... on PartitionBackfill { status } ... on PythonError { message } } }"""

_RUN_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
_BACKFILL_RUNNING = {"REQUESTED", "CANCELING"}


@dataclass(frozen=True)
class Dev:
    """A running `audit dev`: the process of its supervisor, its home and its log."""

    supervisor: subprocess.Popen[bytes]
    home: Home
    log: Path

    def cpu_seconds(self) -> float:
        """The CPU seconds of the whole tree so far, including ended children. Read twice, because a child that ends
        between listing and reading would be missing once."""
        return max(self._cpu_once(), self._cpu_once())

    def _cpu_once(self) -> float:
        root = psutil.Process(self.supervisor.pid)
        total = 0.0
        for process in [
            *root.children(recursive=True),
            root,
        ]:  # parents last: they inherit from ended children
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def memory_mb(self) -> float:
        """The resident memory of the tree in MB; shared pages count once (PSS)."""
        total = 0
        for process in psutil.Process(self.supervisor.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 1e6

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """The `data` of a GraphQL response. Raises BenchmarkError if the response contains an error."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.home.dagster_port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                document = json.load(response)
        except urllib.error.HTTPError as error:
            raise BenchmarkError(
                f"Dagster responds {error.code}: {error.read().decode(errors='replace')[:500]}"
            ) from None
        if document.get("errors"):
            raise BenchmarkError(f"Dagster: {document['errors'][0]['message']}")
        return document["data"]

    def run_job(self, name: str, within: float = 300.0) -> None:
        """Launches a job and waits until it succeeds. Raises BenchmarkError otherwise."""
        params = {"selector": self._selector() | {"pipelineName": name}, "mode": "default", "runConfigData": {}}
        launched = self.query(_LAUNCH_RUN, params=params)["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            raise BenchmarkError(f"{name} cannot be launched: {launched.get('message', launched['__typename'])}")
        until, status = time.monotonic() + within, ""
        while status not in _RUN_ENDED:
            if time.monotonic() > until:
                raise BenchmarkError(f"{name} did not end within {within:.0f} s; see {self.log}")
            time.sleep(1)
            status = self.query(_RUN, id=launched["run"]["runId"])["runOrError"]["status"]
        if status != "SUCCESS":
            raise BenchmarkError(f"{name} ended with {status}")

    def start_backfill(self, partitions: list[str]) -> str:
        """Launches a backfill of the sync job for these days, like the job's page in the UI. Returns its id."""
        selector = {"partitionSetName": "audit_sync_partition_set", "repositorySelector": self._selector()}
        params = {"selector": selector, "partitionNames": partitions}
        launched = self.query(_LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        if launched["__typename"] != "LaunchBackfillSuccess":
            raise BenchmarkError(f"the backfill cannot be launched: {launched.get('message', launched['__typename'])}")
        return launched["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        return self.query(_BACKFILL, id=backfill)["partitionBackfillOrError"]["status"]

    def backfill_runs(self, backfill: str) -> bool:
        return self.backfill_status(backfill) in _BACKFILL_RUNNING

    def wait_until_up(self, within: float = 120.0) -> None:
        """Raises BenchmarkError with the end of the log if the web server does not answer in time."""
        until = time.monotonic() + within
        while time.monotonic() < until and self.supervisor.poll() is None:
            with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                self.query("{ version }")
                return
            time.sleep(0.5)
        raise BenchmarkError(f"`audit dev` does not answer:\n{self.log_end()}")

    def wait_for_rows(self, rows: int, within: float = 600.0) -> None:
        """Waits until `rows` rows are published. Raises BenchmarkError otherwise."""

        def published() -> bool:
            manifest = read_manifest(self.home.snapshot_folder)
            return manifest is not None and manifest.rows("ai_audit_logs") >= rows

        if not wait(within, published):
            raise BenchmarkError(f"{rows:,} rows were not published within {within:.0f} s:\n{self.log_end()}")

    def log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").strip().splitlines()[-12:])

    def _selector(self) -> dict[str, str]:
        return {"repositoryLocationName": "audit_assets", "repositoryName": "__repository__"}


@contextmanager
def run_dev(home: Home, folder: Path) -> Generator[Dev]:
    """Runs `audit dev` while the block runs. Stops it as by Ctrl-C, with its whole tree."""
    log = folder / "dev.log"
    command = [sys.executable, "-m", "benchmarks.supervised", sys.executable, "-m", "audit_assets.cli", "dev"]
    with log.open("wb") as printed:
        supervisor = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=home.environment, stdin=subprocess.PIPE, stdout=printed, stderr=printed
        )
    try:
        dev = Dev(supervisor, home, log)
        dev.wait_until_up()
        yield dev
    finally:
        assert supervisor.stdin is not None
        supervisor.stdin.close()
        supervisor.wait(timeout=120)


def start_process(module: str, *arguments: str, home: Home) -> subprocess.Popen[bytes]:
    """Starts a module of the project as a process, which runs until `end`."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, env=home.environment, stdin=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process from `start_process`. Closes its input first, so that it may end by itself."""
    assert process.stdin is not None
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    process.kill()
    process.wait()


def wait(seconds: float, done: Callable[[], bool]) -> bool:
    """Polls `done` every second. Returns whether it became true in time."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(1)
    return True


def disk_mb(folder: Path) -> dict[str, float]:
    """MB on disk of each entry of `folder`. Files that are deleted meanwhile do not count."""
    sizes: dict[str, float] = {}
    for entry in folder.iterdir():
        total = 0
        for path in [entry, *entry.rglob("*")] if entry.is_dir() else [entry]:
            with suppress(FileNotFoundError):
                total += path.lstat().st_blocks * 512
        sizes[entry.name] = total / 1e6
    return sizes
