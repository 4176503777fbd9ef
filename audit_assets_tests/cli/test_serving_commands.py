"""A second `audit dev` in one home, and how `audit watchdog` reports its services."""

from __future__ import annotations

import os
from datetime import timedelta

from audit_assets.demo.home_lock import serving_lock
from audit_assets.demo.services import write_states
from audit_assets.demo.supervisor import ServiceState
from audit_assets_tests.cli.running import Audit, error_line
from audit_assets_tests.environments import Home


def test_a_home_that_is_served_is_refused_to_a_second_server_and_the_holder_is_named(audit: Audit, empty_home: Home):
    with serving_lock(empty_home.folder, "audit dev"):
        result = error_line(audit("dev"), code=1)
    assert f"{empty_home.folder} is already served by `audit dev`, process {os.getpid()}" in result
    assert "AI_AUDIT_HOME" in result


def _healthy(name: str) -> ServiceState:
    return ServiceState(name, pid=1, restarts=0, problem=None)


def _problems(audit: Audit) -> list[str]:
    return [one["said"] for one in audit("watchdog", "--json").figures["troubles"] if "audit dev" in one["said"]]


def test_the_watchdog_names_a_service_that_is_not_well_for_minutes(audit: Audit, empty_home: Home):
    state, now = empty_home.folder / "serving.json", empty_home.clock()()
    began = now - timedelta(minutes=5)
    hung = ServiceState("code server", pid=2, restarts=3, problem="ping: DEADLINE_EXCEEDED")
    with serving_lock(empty_home.folder, "audit dev"):
        write_states(state, [_healthy("dashboards"), hung], began)
        write_states(state, [_healthy("dashboards"), hung], now)
        (line,) = [line for line in _problems(audit) if "start `audit dev`" not in line]
        unhealthy = f"code server of `audit dev` has been unhealthy since {began:%H:%M} UTC"
        assert line == f"{unhealthy}: ping: DEADLINE_EXCEEDED"

        write_states(state, [_healthy("dashboards"), _healthy("code server")], now)
        assert [line for line in _problems(audit) if "unhealthy" in line] == []


def test_the_watchdog_names_a_server_that_was_killed(audit: Audit, empty_home: Home):
    with serving_lock(empty_home.folder, "audit dev"):
        write_states(empty_home.folder / "serving.json", [_healthy("code server")], empty_home.clock()())
    assert "`audit dev` ended unexpectedly: start it again" in _problems(audit)
