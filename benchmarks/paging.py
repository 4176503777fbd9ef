"""From trouble at the source to a request at PagerDuty, and that history pages nobody.

`audit dev` runs on a private home with made live traffic, over a server that plays PagerDuty and Slack. First the days
of history are given three spikes of errors that nobody has seen, and are backfilled: whatever is told of them is a
fault. Then capabilities begin to err, each at another moment of the sensor's turn: rows of the last ten whole minutes,
within the look-back of the sync, satisfy the rule from the commit that brings them, and the clock stops at the log of
the played PagerDuty.
"""

import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg2

from audit_assets.settings import PROJECT_ROOT
from audit_assets.simulate.drills import Drill, add_history, end_trouble
from audit_assets.simulate.server_process import free_port
from audit_assets.warehouse.snapshot import open_snapshot
from audit_assets_tests.fakes.providers import FakeProviders
from audit_assets_tests.fakes.reading import Incident
from benchmarks.figure import BenchmarkError, Figure, at_least, at_most, percentile, spread
from benchmarks.home import Home, made_home, source, temporary_folder
from benchmarks.serving import Dev, end, served, started, wait
from benchmarks.source_rows import fill

_DAYS = 60
_SPIKES_AGO = (40, 21, 6)  # days
_APART = 37.0  # seconds between two drills: no multiple of the sensor's turn, so that they meet it at all its moments
_PAGED_WITHIN = 240.0
_KEY, _TOKEN = "0123456789abcdef0123456789abcdef", "xoxb-played"

_SPIKE = """insert into ai_audit_logs
    (id, workflow_id, capability, provider, created_at, request_metadata, response_metadata)
select id || '-again-' || again, workflow_id, capability, provider, created_at + again * interval '1 second',
    request_metadata, jsonb_set(response_metadata, '{status}', '"error"')
from ai_audit_logs, generate_series(1, 9) as again
where capability = 'capability_3' and created_at >= %(day)s and created_at < %(day)s + interval '1 day'"""


# Sixty calls from six workspaces, every second one failing, dated evenly into the ten minutes up to the last full five.
_TROUBLE = """insert into ai_audit_logs
    (id, workflow_id, capability, provider, created_at, request_metadata, response_metadata)
select %(capability)s || '-t-' || n, 'drill-workspace-' || mod(n / 2, 6), %(capability)s, 'openai',
    date_bin('5 minutes', now(), timestamptz '2000-01-01') - interval '1 second' * (10 * n - 5),
    jsonb_build_object('drillId', %(drill)s),
    jsonb_build_object('status', case when mod(n, 2) = 0 then 'error' else 'success' end, 'durationMs', 900)
from generate_series(1, 60) as n"""


@dataclass(frozen=True)
class Sizes:
    """Rows of history at the source, live rows a second, drills."""

    history: int
    rate: int
    drills: int


FULL = Sizes(history=240_000, rate=5, drills=20)
QUICK = Sizes(history=40_000, rate=5, drills=2)


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with (
        temporary_folder() as folder,
        source(folder) as url,
        FakeProviders(folder / "told.jsonl", routing_key=_KEY, token=_TOKEN) as fakes,
    ):
        fill(url, sizes.history, 700, _DAYS)
        now = datetime.now(UTC)
        drills = [Drill("errors", secrets.token_hex(3), now, now) for _ in range(sizes.drills)]
        made = sum(add_history(url, drill) for drill in drills)
        home = replace(
            made_home(folder / "home", url),
            dagster_port=free_port(),
            providers={
                "AI_AUDIT_SEND": "1",
                "AI_AUDIT_ROUTING": str(_nobody_waits(folder)),
                "PAGERDUTY_ROUTING_KEY": _KEY,
                "PAGERDUTY_EVENTS_URL": fakes.events_url,
                "SLACK_BOT_TOKEN": _TOKEN,
                "SLACK_BASE_URL": fakes.slack_url,
            },
        )
        with served(home, folder) as dev:
            dev.wait_for_rows(sizes.history + made)
            history = _backfilled(dev, url, fakes)
            with _live_rows(home, url, sizes.rate, folder):
                began = _drilled(url, drills)
                opened = _opened(fakes, drills)
                closed = _closed(dev, url, drills, fakes)
    return (*history, *_figures(began, opened, closed))


def _backfilled(dev: Dev, url: str, fakes: FakeProviders) -> tuple[Figure, ...]:
    """Three days that err and spike, seen for the first time by a backfill of all days."""
    today = datetime.now(UTC).date()
    spiked = [today - timedelta(days=ago) for ago in _SPIKES_AGO]
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for day in spiked:
            cursor.execute(_SPIKE, {"day": datetime(day.year, day.month, day.day, tzinfo=UTC)})
    backfill = dev.start_backfill([(today - timedelta(days=ago)).isoformat() for ago in range(_DAYS - 1, -1, -1)])
    while dev.backfill_runs(backfill):
        time.sleep(1)
    status = dev.backfill_status(backfill)
    if status != "COMPLETED_SUCCESS":
        raise BenchmarkError(f"the backfill ended with {status}")
    seen = _anomalies(dev.home, spiked)
    time.sleep(60)  # a turn of the sensor that delivers, and another batch
    told = fakes.reading()
    return (
        Figure("planted days that the tables show as spikes", seen, "", at_least(len(spiked)), "of capability_3"),
        Figure("pages of 60 backfilled days", len(told.incidents), "", at_most(0), "incidents at PagerDuty"),
        Figure("Slack messages of 60 backfilled days", len(told.messages), "", at_most(0)),
    )


def _anomalies(home: Home, days: Sequence[date]) -> int:
    with open_snapshot(home.snapshot_folder, ["ai_audit_capability_anomalies"]) as connection:
        ((seen,),) = connection.execute(
            """select count(*) from analytics.ai_audit_capability_anomalies
            where capability = 'capability_3' and deviation_state = 'spike' and list_contains(?, date)""",
            [list(days)],
        ).fetchall()
    return seen


def _drilled(url: str, drills: Sequence[Drill]) -> dict[str, float]:
    """Capability → epoch seconds at which its trouble was committed."""
    began: dict[str, float] = {}
    for drill in drills:
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(_TROUBLE, {"capability": drill.capability, "drill": drill.drill_id})
        began[drill.capability] = time.time()
        time.sleep(_APART)
    return began


def _of(fakes: FakeProviders, drills: Sequence[Drill]) -> dict[str, Incident]:
    """Capability → its incident, as PagerDuty has it."""
    mine = {drill.capability for drill in drills}
    found = {
        one.event["payload"].get("component"): one
        for one in fakes.incidents().values()
        if "/error_surge/" in one.dedup_key
    }
    return {capability: one for capability, one in found.items() if capability in mine}


def _opened(fakes: FakeProviders, drills: Sequence[Drill]) -> dict[str, Incident]:
    wait(_PAGED_WITHIN, lambda: len(_of(fakes, drills)) == len(drills))
    return _of(fakes, drills)


def _closed(dev: Dev, url: str, drills: Sequence[Drill], fakes: FakeProviders) -> dict[str, Incident]:
    """The trouble is taken back; rows that go are seen by a run over their days."""
    for drill in drills:
        end_trouble(url, drill)
    today = datetime.now(UTC).date()
    backfill = dev.start_backfill([(today - timedelta(days=1)).isoformat(), today.isoformat()])
    wait(300, lambda: not dev.backfill_runs(backfill))
    wait(_PAGED_WITHIN, lambda: all(one.state == "resolved" for one in _of(fakes, drills).values()))
    return _of(fakes, drills)


def _figures(began: dict[str, float], opened: dict[str, Incident], closed: dict[str, Incident]) -> tuple[Figure, ...]:
    waits = [one.opened_at - began[capability] for capability, one in opened.items()]
    if not waits:
        raise BenchmarkError("no drill reached PagerDuty")
    once = sum(one.opened == 1 and one.triggers == 1 and one.resolves == 1 for one in closed.values())
    return (
        Figure("rows that satisfy a rule to PagerDuty, p95", percentile(waits, 95), "s", at_most(90), spread(waits)),
        Figure("drills not paged", len(began) - len(opened), "", at_most(0), f"of {len(began)}"),
        Figure(
            "drills with one open and one resolve", once, "", at_least(len(began)), "by the log of the played PagerDuty"
        ),
    )


@contextmanager
def _live_rows(home: Home, url: str, rate: int, folder: Path) -> Generator[None]:
    """Made rows committed at the source by a process of its own, until the block ends."""
    writer = started("benchmarks.committing", url, str(rate), "86400", str(folder / "committed"), home=home)
    try:
        yield
    finally:
        end(writer)


def _nobody_waits(folder: Path) -> Path:
    """The project's routes without waiting for a drill: a page that is held back would count as none."""
    text = (PROJECT_ROOT / "observability/alerts/routing.yaml").read_text()
    path = folder / "routing.yaml"
    path.write_text(text.replace("hold_until_drill: true", "hold_until_drill: false"))
    return path
