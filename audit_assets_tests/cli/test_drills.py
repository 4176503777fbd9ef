"""Drills in a home in which batches run concurrently, as under `audit dev`."""

from __future__ import annotations

import fcntl
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from sqlalchemy import select

from audit_assets.alerting.ledger import tables
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets.cli.drill import make_pipeline
from audit_assets.clock import Clock
from audit_assets.drills import run as drills
from audit_assets.drills.traffic import Drill, begin_anomaly, end_anomaly
from audit_assets_tests.environments import NOW, Home

pytestmark = pytest.mark.requirement("R39")


def batch(home: Home, minutes: float) -> None:
    """Runs what the sensor requests: a delta, then all models, rules and checks."""
    assert replace(home, now=NOW + timedelta(minutes=minutes)).build().succeeded


def test_a_new_capability_is_announced_once_though_a_batch_runs_while_the_drill_ends(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    assert home.source_url is not None
    drill = Drill("new-capability", "ab12cd", NOW, NOW)
    forget = drills.forget
    at_once = click.Context(click.Command("drill"), obj=Clock(NOW + timedelta(minutes=5)))

    def forget_and_then_a_batch(*arguments: Any) -> None:
        forget(*arguments)
        batch(home, 7)

    begin_anomaly(home.source_url, drill)
    batch(home, 1)
    end_anomaly(home.source_url, drill)
    monkeypatch.setattr(drills, "forget", forget_and_then_a_batch)
    with at_once.scope():
        drills.recover(home.settings(), drill, make_pipeline(home.settings()))

    assert home.query_snapshot("select count(*) from analytics.ai_audit_capabilities where environment = 'sim'") == [
        (0,)
    ]
    with closing(open_ledger(home.settings().ledger_url)) as ledger, ledger.transaction() as connection:
        alerts, deliveries = tables.alerts.c, tables.deliveries.c
        episodes = connection.execute(select(alerts.state).where(alerts.environment == "sim")).scalars().all()
        posts = connection.execute(
            select(deliveries.target).where(deliveries.action == "post", deliveries.stream.like("ai-audit/sim/%"))
        ).scalars().all()  # fmt: skip
    assert list(episodes) == ["resolved"]
    assert sorted(posts) == ["slack:#ai-copilot-compliance", "slack:#ai-copilot-ops"]


def test_a_drill_waits_for_another_one_of_the_home(tmp_path: Path):
    begun = threading.Event()
    waits: list[str] = []

    def second() -> None:
        with drills.only_drill(tmp_path / "drill.lock", "silence", waits.append):
            begun.set()

    waiting = threading.Thread(target=second)
    with drills.only_drill(tmp_path / "drill.lock", "spike", waits.append):
        waiting.start()
        assert not begun.wait(0.3)
    waiting.join(10)
    assert begun.is_set()
    assert waits == ["waiting for another drill to end: spike"]
    with (tmp_path / "drill.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
