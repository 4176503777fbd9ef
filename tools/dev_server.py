"""Runs `audit dev` over a home, and calls its GraphQL API like the UI."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT

T = TypeVar("T")

LOCATION, REPOSITORY = "audit_assets", "__repository__"

_LOADED = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    __typename ... on PythonError { message } } } } } }"""
_LAUNCH = """mutation($params: [ExecutionParams!]!) { launchMultipleRuns(executionParamsList: $params) {
    ... on LaunchMultipleRunsResult { launchMultipleRunsResult {
        __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
    ... on PythonError { message } } }"""
_BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL_STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } } } }"""
_RUNS = """query($filter: RunsFilter!) { runsOrError(filter: $filter, limit: 50) { ... on Runs { results {
    runId status tags { key value } } } } }"""

_CHECKED = """query($asset: AssetKeyInput!, $check: String!) { assetCheckExecutions(
    assetKey: $asset, checkName: $check, limit: 50) { evaluation {
        timestamp success metadataEntries { label ... on TableMetadataEntry { table { records } } } } } }"""


class Dev:
    """A running `audit dev`."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log

    def query(self, query: str, **variables: Any) -> Any:
        """The `data` of a GraphQL response."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            document = json.load(answer)
        assert not document.get("errors"), document["errors"]
        return document["data"]

    def is_loaded(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        with suppress(urllib.error.URLError, ConnectionError):
            (entry,) = self.query(_LOADED)["workspaceOrError"]["locationEntries"]
            loaded = entry["locationOrLoadError"]
            if loaded is not None:
                assert loaded["__typename"] == "RepositoryLocation", loaded
                return True
        return False

    def assets(self, by_day: bool = False) -> list[str]:
        """The assets that can be materialized; with `by_day`, only partitioned ones, as in the UI's backfill."""
        nodes = self.query("{ assetNodes { assetKey { path } isPartitioned isExecutable } }")["assetNodes"]
        return sorted(
            node["assetKey"]["path"][-1]
            for node in nodes
            if node["isExecutable"] and (node["isPartitioned"] or not by_day)
        )

    def materialize(self, day: str, assets: list[str]) -> str:
        """Launches a run over one partition, like the UI's Materialize button. Returns its id."""
        selector = {
            "repositoryName": REPOSITORY,
            "repositoryLocationName": LOCATION,
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]} for asset in assets],
            "assetCheckSelection": [],
        }
        tags = [{"key": "dagster/partition", "value": day}]
        parameters = {
            "mode": "default",
            "runConfigData": "{}",
            "selector": selector,
            "executionMetadata": {"tags": tags},
        }
        (launched,) = self.query(_LAUNCH, params=[parameters])["launchMultipleRuns"]["launchMultipleRunsResult"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def backfill(self, days: list[str], assets: list[str]) -> str:
        """Launches a backfill over a range, like the UI. Returns its id."""
        parameters = {"partitionNames": days, "assetSelection": [{"path": [asset]} for asset in assets], "tags": []}
        launched = self.query(_BACKFILL, params=parameters)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def backfill_status(self, backfill_id: str) -> tuple[str, str | None]:
        status = self.query(_BACKFILL_STATUS, id=backfill_id)["partitionBackfillOrError"]
        return status["status"], status["error"].get("message") if status["error"] else None

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """The runs with these tags (`__` for `/`), newest first."""
        wanted = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
        return self.query(_RUNS, filter={"tags": wanted})["runsOrError"]["results"]

    def evaluations(self, asset: str, check: str) -> list[dict[str, Any]]:
        """The evaluations of a check as in the UI, newest first: `timestamp`, `success`, and the table's rows as
        `worst`."""
        listed = self.query(_CHECKED, asset={"path": [asset]}, check=check)["assetCheckExecutions"]
        evaluations = [one["evaluation"] for one in listed if one["evaluation"] is not None]
        for one in evaluations:
            tables = [entry["table"]["records"] for entry in one.pop("metadataEntries") if "table" in entry]
            one["worst"] = [json.loads(record) for records in tables for record in records]
        return evaluations

    def status_of(self, run_id: str) -> str:
        (run,) = self.query(_RUNS, filter={"runIds": [run_id]})["runsOrError"]["results"]
        return run["status"]

    def tree(self) -> list[psutil.Process]:
        """The process and all its descendants."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def end(self) -> list[psutil.Process]:
        """Sends SIGTERM to the main process. Returns the processes that are still alive, without zombies."""
        tree = self.tree()
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=60)
        _, alive = psutil.wait_procs(tree[1:], timeout=5)
        return [one for one in tree[:1] if self.process.returncode is None] + [one for one in alive if _lives(one)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def dev(environment: Mapping[str, str], log: Path) -> Generator[Dev]:
    """Runs `audit dev` in `environment`, and waits until its definitions are loaded. Ends all its processes
    afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "audit_assets.cli", "dev"],
            cwd=PROJECT_ROOT,
            env={"AI_AUDIT_DASHBOARD_URL": f"http://localhost:{free_port()}", **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            umask=0o022,
        )
    running = Dev(process, environment["AI_AUDIT_DAGSTER_URL"].replace("localhost", "127.0.0.1"), log)
    try:
        until(running.is_loaded, 90)
        yield running
    finally:
        if process.poll() is None:
            for left in running.end():
                left.kill()


def until(found: Callable[[], T], within: float) -> T:
    """Polls `found` until it returns a true value, and returns the value."""
    deadline = time.monotonic() + within
    while not (value := found()):
        assert time.monotonic() < deadline, f"not within {within:.0f} s"
        time.sleep(0.5)
    return value
