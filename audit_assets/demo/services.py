"""The services of `audit dev` and their health checks: Dagster's code server, daemon and UI, the dashboards, live
traffic."""

from __future__ import annotations

import compileall
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import psutil
import yaml

from audit_assets.alerting.delivery.watchdog import Problem
from audit_assets.clock import Clock
from audit_assets.demo.home_lock import is_served
from audit_assets.demo.postgres_files import write_private
from audit_assets.demo.process_guard import ProcessGuard
from audit_assets.demo.supervisor import Service, ServiceState, Supervisor
from audit_assets.private_files import users_umask
from audit_assets.settings import PROJECT_ROOT, Settings

HOST = "127.0.0.1"
CODE_SERVER = "code server"
LOCATION = "audit_assets"

_STATES = "serving.json"  # below the home

_LONGEST_SOCKET_PATH = 100
_UNHEALTHY_AFTER = timedelta(minutes=4)  # on a busy machine, a service takes minutes from its start to its first answer
_ANSWERS_WITHIN_S = 10
_HEARTBEAT_WITHIN_S = 45.0  # each daemon sends a heartbeat every 30 s
_HEARTBEATS = "{ instance { daemonHealth { allDaemonStatuses { lastHeartbeatTime } } } }"


def make_services(settings: Settings, dagster_port: int, dashboards_port: int, with_traffic: bool) -> list[Service]:
    """The services of this home in start order. Writes Dagster's workspace file below the home."""
    socket = _socket(settings)
    workspace = settings.dagster_home / "workspace.yaml"
    location = {"grpc_server": {"socket": str(socket), "location_name": LOCATION}}
    write_private(workspace, yaml.safe_dump({"load_from": [location]}))
    python, ui = [sys.executable, "-m"], f"http://{HOST}:{dagster_port}"
    code = ["-m", "audit_assets.definitions", "-a", "defs", "--location-name", LOCATION]
    pages = ["dashboards", "serve", "--port", str(dashboards_port)]
    services = [
        # Started by module, because the PATH may not contain this environment's console scripts.
        Service(
            CODE_SERVER,
            # `code-server start`, not `api grpc`: only the former reads the code again on "Reload" in the UI.
            [*python, "dagster", "code-server", "start", "--socket", str(socket), *code, "--log-level", "warning",
             "--use-python-environment-entry-point"],
            problem=lambda: _code_server_problem(socket),
            hung_after_s=15,
            stop_within_s=20,  # enough for a micro-batch to end; the next run completes longer runs
            outlives=_is_run_worker,
        ),
        Service(
            "Dagster daemon",
            [*python, "dagster._daemon", "run", "-w", str(workspace)],
            problem=_Heartbeats(ui).problem,
            after=CODE_SERVER,
        ),
        Service(
            "Dagster UI",
            [*python, "audit_assets.defs.webserver", str(workspace), str(dagster_port)],
            problem=lambda: _http_problem(f"{ui}/server_info"),
            after=CODE_SERVER,
        ),
        Service(
            "dashboards",
            [*python, "audit_assets.cli", *pages],
            problem=lambda: _http_problem(f"http://{HOST}:{dashboards_port}/healthz"),
        ),
    ]  # fmt: skip
    if with_traffic:
        traffic = [*python, "audit_assets.cli", "simulate", "traffic", "--live", "--rate", "0.5"]
        services.append(Service("live traffic", traffic, is_essential=False))
    return services


def run_services(
    settings: Settings, services: Sequence[Service], lock: int, clock: Clock, report: Callable[[str], None]
) -> None:
    """Runs the services until SIGINT or SIGTERM, then stops all of them. `lock` is the descriptor of the home's lock:
    if this process is killed, the lock is held until all services have ended. Raises ServiceLostError."""
    # Each run is a new process. Compiling here saves each of them the compilation of the package.
    with users_umask():
        compileall.compile_dir(PROJECT_ROOT / "audit_assets", quiet=2)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore::UserWarning:sqlglot.tokens"}
    path = settings.home / _STATES
    supervisor = Supervisor(
        services,
        ProcessGuard(pass_fds=[lock]),
        PROJECT_ROOT,
        environment,
        report,
        lambda states: write_states(path, states, clock()),
    )
    supervisor.run()
    path.unlink(missing_ok=True)


def _socket(settings: Settings) -> Path:
    """The socket of the code server. Only its owner can access a socket, while any web page could access a port."""
    path = settings.dagster_home / "code-server.sock"
    if len(str(path)) <= _LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.mkdtemp(prefix="audit-")) / path.name


def _is_run_worker(process: psutil.Process) -> bool:
    """Whether the process executes a run, which continues without the code server that launched it."""
    return any("multiprocessing" in part for part in process.cmdline())


def _code_server_problem(socket: Path) -> str | None:
    """What is wrong with the server that loaded the code. A ping passes through the proxy that reloads it."""
    import grpc  # imported here because no other command needs it

    message = b"\x0a\x04ping"  # PingRequest { string echo = 1 }: Dagster's own classes take seconds to import
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        try:
            channel.unary_unary("/api.DagsterApi/Ping")(message, timeout=_ANSWERS_WITHIN_S)
        except grpc.RpcError as error:
            return f"ping: {error.code().name}"
    return None


def _http_problem(url: str) -> str | None:
    try:
        status = httpx.get(url, timeout=_ANSWERS_WITHIN_S, trust_env=False).status_code  # not through a proxy
    except httpx.HTTPError as error:
        return f"{url}: {type(error).__name__}"
    return None if status == 200 else f"{url}: HTTP {status}"


class _Heartbeats:
    """The daemon's heartbeats, read from Dagster's UI. Measures when they change, independently of clock changes."""

    def __init__(self, ui: str) -> None:
        self._ui, self._last, self._changed = ui, 0.0, time.monotonic()

    def problem(self) -> str | None:
        try:
            url, query = f"{self._ui}/graphql", {"query": _HEARTBEATS}
            response = httpx.post(url, json=query, timeout=_ANSWERS_WITHIN_S, trust_env=False).json()
            statuses = response["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None  # a problem of the UI, reported by its own check
        newest = max((status["lastHeartbeatTime"] or 0.0 for status in statuses), default=0.0)
        if newest != self._last:
            self._last, self._changed = newest, time.monotonic()
        silent = time.monotonic() - self._changed
        return None if silent < _HEARTBEAT_WITHIN_S else f"no heartbeat for {silent:.0f} s"


@dataclass(frozen=True)
class ServedService:
    """A service in `serving.json`: its problem, and since when (UTC). Both are None for a healthy service."""

    name: str
    restarts: int
    problem: str | None
    since: datetime | None


def write_states(path: Path, states: Sequence[ServiceState], now: datetime) -> None:
    """Writes `serving.json`, for `audit watchdog`."""
    before = {service.name: service for service in read_states(path) or ()}

    def since(state: ServiceState) -> str | None:
        if state.problem is None:
            return None
        earlier = before[state.name].since if state.name in before else None
        return (earlier or now).isoformat()

    write_private(path, json.dumps([{**asdict(state), "since": since(state)} for state in states], indent=1) + "\n")


def read_states(path: Path) -> tuple[ServedService, ...] | None:
    """The services that were written last. None if nothing serves, or serving ended normally."""
    try:
        written = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return tuple(
        ServedService(
            state["name"],
            state["restarts"],
            state["problem"],
            state["since"] and datetime.fromisoformat(state["since"]),
        )
        for state in written
    )


def serving_problems(home: Path, now: datetime) -> list[Problem]:
    """The problems of `audit dev` over `home` on this machine: it was killed, or it cannot keep a service running."""
    services = read_states(home / _STATES)
    if services is None:
        return []
    if not is_served(home):
        failed = [f"{service.name}: {service.problem}" for service in services if service.problem]
        details = f" ({'; '.join(failed)})" if failed else ""
        return [Problem("serving", f"`audit dev` ended unexpectedly: start it again{details}")]
    return [
        Problem(
            service.name,
            f"{service.name} of `audit dev` has been unhealthy since {service.since:%H:%M} UTC: {service.problem}",
        )
        for service in services
        if service.since is not None and now - service.since > _UNHEALTHY_AFTER
    ]
