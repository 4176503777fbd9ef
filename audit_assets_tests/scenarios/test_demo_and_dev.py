"""`audit demo`, then `audit dev` on the same home, as a new user runs them."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunsFilter

from audit_assets.alerting.ledger.store import last_evaluated_at
from audit_assets.alerting.ledger.tables import open_ledger
from audit_assets.demo import postgres as embedded
from audit_assets.demo.server_process import free_port
from audit_assets.settings import PROJECT_ROOT
from audit_assets_tests.alerting.conftest import CHANNELS, ROUTING_KEY, TOKEN
from audit_assets_tests.environments import Home
from audit_assets_tests.rules.factories import shipped
from audit_assets_tests.scenarios.modes import open_to_others
from tools.dev_server import Dev, dev, until
from tools.fakes.providers import FakeProviders

DAYS = 15
BY_DAY = ["ai_audit_logs", "ai_audit_daily", "ai_audit_capability_stats", "ai_audit_capability_anomalies"]

# The shipped policy with a shorter sensor interval, to make the test faster.
QUICK = ("poll: 50s", "poll: 5s")


@dataclass(frozen=True)
class Demo:
    """A home that `audit demo` filled, the UTC day of its start, and the command's output. It has no fixed now, because
    `audit dev` continues on it in real time."""

    home: Home
    today: date
    code: int
    out: str
    err: str


def policy_in(folder: Path) -> Path:
    text = (PROJECT_ROOT / "observability/sync.yaml").read_text()
    quicker, found = re.subn(*QUICK, text)
    assert found == 1
    (folder / "sync.yaml").write_text(quicker)
    return folder / "sync.yaml"


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProviders]:
    """Fakes of PagerDuty and Slack for the demo and the server."""
    log = tmp_path_factory.mktemp("fakes") / "requests.jsonl"
    with FakeProviders(log, routing_key=ROUTING_KEY, token=TOKEN, channels=CHANNELS) as playing:
        yield playing


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, fakes: FakeProviders) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    more = (
        ("AI_AUDIT_SYNC_POLICY", str(policy_in(folder))),
        ("SLACK_BOT_TOKEN", TOKEN),
        ("SLACK_BASE_URL", fakes.slack_url),
        ("PAGERDUTY_ROUTING_KEY", ROUTING_KEY),
        ("PAGERDUTY_EVENTS_URL", fakes.events_url),
    )
    bare = Home(folder / "home", None, f"http://localhost:{free_port()}", more, now=None)
    today = datetime.now(UTC).date()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "audit_assets.cli", *f"demo --no-serve --days {DAYS} --rows-per-day 600".split()],
            env=bare.process_environment(),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            umask=0,
        )
        address = bare.folder / "postgres/url"
        url = address.read_text().strip() if address.exists() else None
        yield Demo(replace(bare, source_url=url), today, done.returncode, done.stdout, done.stderr)
    finally:
        embedded.remove(bare.folder / "postgres")


@pytest.mark.requirement("R30", "R33")
def test_the_demo_ends_with_the_injected_spike_and_surge_on_the_console(demo: Demo):
    assert demo.code == 0, demo.err
    assert "AI Copilot Audit Spike" in demo.out
    assert "contract_check" in demo.out
    assert "AI Copilot Audit Error Surge" in demo.out
    assert re.search(r"search_answer: [\d.]+ %", demo.out)
    assert "the counts agree" in demo.out
    assert "Traceback" not in demo.err
    assert embedded.status(demo.home.folder / "postgres") is not None


@pytest.mark.requirement("R40")
def test_the_demo_prints_what_it_would_send_and_sends_nothing(demo: Demo, fakes: FakeProviders):
    assert _says(demo, "→ slack:#ai-copilot-ops post: AI Copilot Audit Spike: .*", "contract_check")
    assert not fakes.received().requests


@pytest.mark.requirement("R18", "R27")
def test_the_instance_holds_every_day_of_every_table_and_its_checks(demo: Demo):
    days = {str(demo.today - timedelta(days=number)) for number in range(1, DAYS - 1)}
    with DagsterInstance.from_config(str(demo.home.folder / "dagster")) as instance:
        for asset in BY_DAY:
            assert days <= instance.get_materialized_partitions(AssetKey(asset)), asset
            assert len(instance.get_materialized_partitions(AssetKey(asset))) == DAYS
        (run,) = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.SUCCESS]))
        assert not instance.telemetry_enabled
    assert f"asset checks                 {_checks(demo)}" in demo.out
    assert run.job_name == "audit_sync"


def _says(demo: Demo, title: str, capability: str) -> bool:
    """Whether the message with this title names the capability. In a quiet hour the retries of the failing capability
    are a spike too, in the same message."""
    return re.search(rf"^{title}\n(?:▌.*\n)*?▌ .*\b{capability}\b", demo.out, re.MULTILINE) is not None


def _checks(demo: Demo) -> int:
    found = re.search(r"asset checks\s+(\d+), \d failing:", demo.out)
    assert found is not None, demo.out
    assert _says(demo, "▌ AI Copilot Audit Spike  ERROR", "contract_check")
    assert _says(demo, "▌ AI Copilot Audit Error Surge  ERROR", "search_answer")
    assert int(found[1]) > 20
    return int(found[1])


@pytest.fixture(scope="module")
def served(demo: Demo) -> Iterator[Dev]:
    environment = {**demo.home.process_environment()}
    del environment["AI_AUDIT_SOURCE_URL"]  # the embedded Postgres is found by its url file
    with dev(environment, demo.home.folder.parent / "dev.log") as running:
        yield running


def _changes() -> str:
    """The changes that git shows in folders where programs might write files, but people do not."""
    people = [f":!{folder}" for folder in ("audit_assets", "audit_assets_tests", "benchmarks", "docs")]
    status = ["git", "status", "--porcelain", "--", ".", *people]
    return subprocess.run(status, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def changes_before() -> str:
    return _changes()


@pytest.mark.requirement("R10", "R15")
def test_a_row_at_the_source_becomes_visible_through_the_sensors_own_run(changes_before: str, demo: Demo, served: Dev):
    demo.home.insert(40, prefix="seen")
    visible = "select count(*) from analytics.ai_audit_logs where id like 'seen%'"
    assert until(lambda: demo.home.query_snapshot(visible) == [(40,)], 120)
    counted = "select sum(interaction_count)::bigint from analytics.ai_audit_daily"
    ((at_source,),) = demo.home.query("select count(*) from ai_audit_logs")
    assert demo.home.query_snapshot(counted) == [(at_source,)]
    reasons = {
        tag["value"] for run in served.runs(audit__mode="delta") for tag in run["tags"] if "reason" in tag["key"]
    }
    assert reasons <= {"heartbeat", "source moved"}
    assert reasons


def _processes(served: Dev, *words: str) -> list[psutil.Process]:
    """The processes of `audit dev` whose command line contains all these words."""
    return [one for one in served.tree() if all(word in one.cmdline() for word in words)]


@pytest.mark.parametrize(
    "words",
    [
        ("api", "grpc"),
        pytest.param(("code-server", "start"), marks=pytest.mark.slow),
        pytest.param(("dagster._daemon",), marks=pytest.mark.slow),
        pytest.param(("audit_assets.defs.webserver",), marks=pytest.mark.slow),
        pytest.param(("dashboards", "serve"), marks=pytest.mark.slow),
    ],
    ids=["code", "code-server", "daemon", "ui", "dashboards"],
)
def test_after_a_kill_of_any_of_its_processes_rows_are_judged_within_two_minutes(
    demo: Demo, served: Dev, words: tuple[str, ...]
):
    killed = _processes(served, *words)
    assert killed
    for one in killed:
        one.kill()
    demo.home.insert(3, prefix=f"killed-{words[-1]}")
    began = datetime.now(UTC)
    visible = f"select count(*) from analytics.ai_audit_logs where id like 'killed-{words[-1]}%'"
    assert until(lambda: demo.home.query_snapshot(visible) == [(3,)], 120)
    assert until(lambda: _last_judged(demo.home) > began, 60)
    assert until(lambda: _processes(served, *words), 60), "it runs again"


def _last_judged(home: Home) -> datetime:
    with open_ledger(f"sqlite:///{home.folder / 'alerts.db'}") as ledger, ledger.transaction() as connection:
        last = last_evaluated_at(connection, datetime.now(UTC))
    assert last is not None
    return last


@pytest.fixture(scope="module")
def days(demo: Demo) -> list[str]:
    """The days of the backfill."""
    return [(demo.today - timedelta(days=number)).isoformat() for number in range(9, 3, -1)]


@pytest.fixture(scope="module")
def backfill(demo: Demo, served: Dev, days: list[str]) -> str:
    """Launches a backfill like the UI, with late rows for its first day. The daemon starts it within half a minute;
    the test of one partition runs meanwhile."""
    noon = datetime.combine(date.fromisoformat(days[0]), datetime.min.time(), UTC) + timedelta(hours=12)
    demo.home.insert(5, at=noon, prefix="range")
    return served.backfill(days, served.assets(by_day=True))


@pytest.mark.requirement("R18")
def test_one_partition_is_materialized_from_the_ui(demo: Demo, served: Dev, backfill: str):
    day = demo.today - timedelta(days=4)
    demo.home.insert(7, at=datetime(day.year, day.month, day.day, 12, tzinfo=UTC), prefix="one")
    run_id = served.materialize(day.isoformat(), served.assets())
    until(lambda: served.status_of(run_id) in ("SUCCESS", "FAILURE"), 120)
    assert served.status_of(run_id) == "SUCCESS"
    late = f"select count(*) from analytics.ai_audit_logs where id like 'one%' and date = date '{day}'"
    assert demo.home.query_snapshot(late) == [(7,)]


@pytest.mark.requirement("R18")
def test_a_backfill_of_a_range_from_the_ui_is_one_run(demo: Demo, served: Dev, backfill: str, days: list[str]):
    until(lambda: [run["status"] for run in served.runs(dagster__backfill=backfill)] == ["SUCCESS"], 180)
    (run,) = served.runs(dagster__backfill=backfill)
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert [tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")] == [days[0], days[-1]]
    demo.home.insert(1, prefix="moved")  # the next run of the sync publishes what the backfill built
    late = f"select count(*) from analytics.ai_audit_logs where id like 'range%' and date = date '{days[0]}'"
    assert until(lambda: demo.home.query_snapshot(late) == [(5,)], 120)
    until(lambda: served.backfill_status(backfill)[0] != "REQUESTED", 120)
    assert served.backfill_status(backfill) == ("COMPLETED_SUCCESS", None)


@pytest.mark.requirement("R39")
@pytest.mark.parametrize(
    ("drill", "check", "asset"),
    [
        ("new-capability", "new_capability", "ai_audit_capabilities"),
        pytest.param("errors", "error_surge", "ai_audit_capability_outcomes", marks=pytest.mark.slow),
        pytest.param("spike", "volume_spike", "ai_audit_capability_grid", marks=pytest.mark.slow),
        pytest.param("drop", "volume_drop", "ai_audit_capability_grid", marks=pytest.mark.slow),
        pytest.param("silence", "no_recent_logs", "ai_audit_total_grid", marks=pytest.mark.slow),
    ],
)
def test_a_drill_is_seen_failing_and_recovering_in_the_ui(
    demo: Demo, served: Dev, fakes: FakeProviders, drill: str, check: str, asset: str
):
    began = datetime.now(UTC).timestamp()
    environment = {**demo.home.process_environment()}
    del environment["AI_AUDIT_SOURCE_URL"]
    rows = demo.home.query("select count(*) from ai_audit_logs")
    command = [sys.executable, "-m", "audit_assets.cli", "simulate", drill, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["drill"], outcome["rule"], outcome["passed"]) == (drill, check, True)
    assert min(outcome["detected_after_seconds"], outcome["recovered_after_seconds"]) > 0
    seen = [one for one in served.evaluations(asset, check) if one["timestamp"] >= began]
    failing = [not one["success"] and any("(sim)" in row["instance"] for row in one["worst"]) for one in seen]
    assert any(failing), "it failed in the environment of drills"
    assert not failing[0], "and passed there again"
    assert demo.home.query("select count(*) from ai_audit_logs") == rows
    for table in ("ai_audit_logs", "ai_audit_capabilities", "ai_audit_capability_outcomes"):
        assert demo.home.query_snapshot(f"select count(*) from analytics.{table} where capability like 'drill-%'") == [
            (0,)
        ]
    with closing(sqlite3.connect(demo.home.folder / "alerts.db")) as ledger:
        kept = ledger.execute("select rule_id, passed from ai_audit_alert_drills where drill = ?", [drill]).fetchall()
        drilled = "select state, resolve_reason from ai_audit_alerts where environment = 'sim' and rule_id = ?"
        episodes = ledger.execute(drilled, [check]).fetchall()
    assert kept == [(check, 1)]
    assert episodes == [("resolved", "cleared")]
    mine = [one for one in fakes.incidents().values() if f"/sim/{check}/" in one.dedup_key]
    assert [(one.opened, one.state) for one in mine] == [(1, "resolved")] * (drill != "new-capability")
    title = shipped(check).title
    posts = [one for one in fakes.received().posts if "[DRILL]" in one.text and title in one.text]
    assert len(posts) == (2 if drill == "new-capability" else 1), "on each of its channels"
    assert {one.content["attachments"][0]["color"] for one in posts} == {"#16A34A"}


@pytest.mark.slow
@pytest.mark.requirement("R39")
def test_drills_started_at_once_beside_the_server_pass_and_send_a_message_each(
    demo: Demo, served: Dev, fakes: FakeProviders
):
    environment = {**demo.home.process_environment()}
    del environment["AI_AUDIT_SOURCE_URL"]
    before = len(fakes.received().posts)
    command = [sys.executable, "-m", "audit_assets.cli", "simulate"]
    options: dict[str, Any] = {"env": environment, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, drill, "--json"], **options) for drill in ("new-capability", "spike")]
    printed = [one.communicate(timeout=900)[0] for one in running]
    assert [one.returncode for one in running] == [0, 0], printed
    capabilities = {outcome["capability"]: outcome["rule"] for outcome in map(json.loads, printed)}
    with closing(sqlite3.connect(demo.home.folder / "alerts.db")) as ledger:
        opened = ledger.execute("select dimensions, rule_id from ai_audit_alerts where environment = 'sim'").fetchall()
    rules = [(json.loads(text).get("capability"), rule) for text, rule in opened]
    assert sorted(one for one in rules if one[0] in capabilities) == sorted(capabilities.items())
    posts = fakes.received().posts[before:]
    # A new capability has two channels. A spike is also a spike of the total, whose message names no capability.
    sent = {rule: sum(capability in one.text for one in posts) for capability, rule in capabilities.items()}
    assert sent == {"new_capability": 2, "volume_spike": 1}


def test_no_file_of_the_home_can_be_read_by_another_user(demo: Demo, served: Dev):
    # `audit demo` was started with umask 000, `audit dev` with 022.
    for name in ("warehouse.duckdb", "alerts.db", "published/manifest.json", "dagster/storage", "postgres/url"):
        assert (demo.home.folder / name).exists(), name
    assert open_to_others(demo.home.folder) == []


def test_serving_changes_nothing_in_the_repository(served: Dev, changes_before: str):
    assert _changes() == changes_before


def test_a_server_terminated_amid_a_run_ends_with_all_its_processes(demo: Demo, served: Dev):
    run = served.materialize(demo.today.isoformat(), BY_DAY)
    until(lambda: served.status_of(run) == "STARTED", 60)
    assert len(served.tree()) > 3
    before = len(served.log.read_text())  # the tests of killed processes left theirs in it
    assert served.end() == []
    assert served.process.returncode == 0
    assert "Traceback" not in served.log.read_text()[before:]
