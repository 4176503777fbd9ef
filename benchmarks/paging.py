"""The time from errors at the source to a request at PagerDuty, and a check that history does not page.

`audit dev` runs on a private home with synthetic live traffic, with a fake server for PagerDuty and Slack. First, three
spikes of errors are added to the history, and all days are backfilled: any notification about them is a failure. Then
capabilities start to fail, each at another moment of the sensor's interval. Rows dated in the last ten full minutes,
within the look-back of the sync, satisfy the rule as soon as they are committed, and the clock stops at the request in
the fake's log.
"""

import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg2

from audit_assets.demo.server_process import free_port
from audit_assets.drills.traffic import Drill, add_history, end_anomaly
from audit_assets.settings import PROJECT_ROOT
from audit_assets.warehouse.snapshot import open_snapshot
from benchmarks.figure import BenchmarkError, Figure, at_least, at_most, percentile, spread
from benchmarks.home import Home, make_home, source, temporary_folder
from benchmarks.serving import Dev, end, run_dev, start_process, wait
from benchmarks.source_rows import fill
from tools.fakes.providers import FakeProviders
from tools.fakes.reading import Incident

_DAYS = 60
_SPIKES_AGO = (40, 21, 6)  # days
_APART = 37.0  # seconds between drills; not a multiple of the sensor's interval, to hit it at different moments
_PAGED_WITHIN = 240.0
_KEY, _TOKEN = "0123456789abcdef0123456789abcdef", "xoxb-played"

_SPIKE = """insert into ai_audit_logs
    (id, workflow_id, capability, provider, created_at, request_metadata, response_metadata)
select id || '-again-' || again, workflow_id, capability, provider, created_at + again * interval '1 second',
    request_metadata, jsonb_set(response_metadata, '{status}', '"error"')
from ai_audit_logs, generate_series(1, 9) as again
where capability = 'capability_3' and created_at >= %(day)s and created_at < %(day)s + interval '1 day'"""


# Sixty calls from six workspaces, every second one failing, evenly dated over the ten minutes before the last full
# five minutes.
_ERRORS = """insert into ai_audit_logs
    (id, workflow_id, capability, provider, created_at, request_metadata, response_metadata)
select %(capability)s || '-t-' || n, 'drill-workspace-' || mod(n / 2, 6), %(capability)s, 'openai',
    date_bin('5 minutes', now(), timestamptz '2000-01-01') - interval '1 second' * (10 * n - 5),
    jsonb_build_object('drillId', %(drill)s),
    jsonb_build_object('status', case when mod(n, 2) = 0 then 'error' else 'success' end, 'durationMs', 900)
from generate_series(1, 60) as n"""


@dataclass(frozen=True)
class Sizes:
    """Rows of history at the source, live rows per second, and drills."""

    history: int
    rate: int
    drills: int


FULL = Sizes(history=240_000, rate=5, drills=20)
QUICK = Sizes(history=40_000, rate=5, drills=2)


def measure(sizes: Sizes) -> tuple[Figure, ...]:
    with (
        temporary_folder() as folder,
        source(folder) as url,
        FakeProviders(folder / "requests.jsonl", routing_key=_KEY, token=_TOKEN) as fakes,
    ):
        now = datetime.now(UTC)
        fill(url, sizes.history, 700, _DAYS, now)
        drills = [Drill("errors", secrets.token_hex(3), now, now) for _ in range(sizes.drills)]
        made = sum(add_history(url, drill) for drill in drills)
        home = replace(
            make_home(folder / "home", url),
            dagster_port=free_port(),
            providers={
                "AI_AUDIT_SEND": "1",
                "AI_AUDIT_ROUTING": str(_routing_without_drills(folder)),
                "PAGERDUTY_ROUTING_KEY": _KEY,
                "PAGERDUTY_EVENTS_URL": fakes.events_url,
                "SLACK_BOT_TOKEN": _TOKEN,
                "SLACK_BASE_URL": fakes.slack_url,
            },
        )
        with run_dev(home, folder) as dev:
            dev.wait_for_rows(sizes.history + made)
            history = _backfill_history(dev, url, fakes)
            with _live_rows(home, url, sizes.rate, folder):
                began = _start_drills(url, drills)
                opened = _wait_until_opened(fakes, drills)
                closed = _wait_until_closed(dev, url, drills, fakes)
    return (*history, *_figures(began, opened, closed))


def _backfill_history(dev: Dev, url: str, fakes: FakeProviders) -> tuple[Figure, ...]:
    """Adds three days with errors and spikes, and runs a backfill of all days, the first run to read them."""
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
    time.sleep(60)  # for an interval of the delivery sensor, and another batch
    received = fakes.received()
    return (
        Figure("planted days that the tables show as spikes", seen, "", at_least(len(spiked)), "of capability_3"),
        Figure("pages of 60 backfilled days", len(received.incidents), "", at_most(0), "incidents at PagerDuty"),
        Figure("Slack messages of 60 backfilled days", len(received.messages), "", at_most(0)),
    )


def _anomalies(home: Home, days: Sequence[date]) -> int:
    with open_snapshot(home.snapshot_folder, ["ai_audit_capability_anomalies"]) as connection:
        ((seen,),) = connection.execute(
            """select count(*) from analytics.ai_audit_capability_anomalies
            where capability = 'capability_3' and deviation_state = 'spike' and list_contains(?, date)""",
            [list(days)],
        ).fetchall()
    return seen


def _start_drills(url: str, drills: Sequence[Drill]) -> dict[str, float]:
    """Commits the errors of each drill. Returns the epoch seconds of each commit by capability."""
    began: dict[str, float] = {}
    for drill in drills:
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(_ERRORS, {"capability": drill.capability, "drill": drill.drill_id})
        began[drill.capability] = time.time()
        time.sleep(_APART)
    return began


def _incidents(fakes: FakeProviders, drills: Sequence[Drill]) -> dict[str, Incident]:
    """The incidents of the drills at the fake PagerDuty, by capability."""
    capabilities = {drill.capability for drill in drills}
    found = {
        incident.event["payload"].get("component"): incident
        for incident in fakes.incidents().values()
        if "/error_surge/" in incident.dedup_key
    }
    return {capability: incident for capability, incident in found.items() if capability in capabilities}


def _wait_until_opened(fakes: FakeProviders, drills: Sequence[Drill]) -> dict[str, Incident]:
    wait(_PAGED_WITHIN, lambda: len(_incidents(fakes, drills)) == len(drills))
    return _incidents(fakes, drills)


def _wait_until_closed(dev: Dev, url: str, drills: Sequence[Drill], fakes: FakeProviders) -> dict[str, Incident]:
    """Deletes the drills' errors and runs a backfill over their days, which detects deleted rows. Waits until all
    incidents are resolved."""
    for drill in drills:
        end_anomaly(url, drill)
    today = datetime.now(UTC).date()
    backfill = dev.start_backfill([(today - timedelta(days=1)).isoformat(), today.isoformat()])
    wait(300, lambda: not dev.backfill_runs(backfill))
    wait(_PAGED_WITHIN, lambda: all(incident.state == "resolved" for incident in _incidents(fakes, drills).values()))
    return _incidents(fakes, drills)


def _figures(began: dict[str, float], opened: dict[str, Incident], closed: dict[str, Incident]) -> tuple[Figure, ...]:
    waits = [incident.opened_at - began[capability] for capability, incident in opened.items()]
    if not waits:
        raise BenchmarkError("no drill reached PagerDuty")
    once = sum(
        incident.opened == 1 and incident.triggers == 1 and incident.resolves == 1 for incident in closed.values()
    )
    return (
        Figure("rows that satisfy a rule to PagerDuty, p95", percentile(waits, 95), "s", at_most(90), spread(waits)),
        Figure("drills not paged", len(began) - len(opened), "", at_most(0), f"of {len(began)}"),
        Figure(
            "drills with one open and one resolve", once, "", at_least(len(began)), "by the log of the fake PagerDuty"
        ),
    )


@contextmanager
def _live_rows(home: Home, url: str, rate: int, folder: Path) -> Generator[None]:
    """Commits synthetic rows at the source in a separate process while the block runs."""
    writer = start_process("benchmarks.committing", url, str(rate), "86400", str(folder / "committed"), home=home)
    try:
        yield
    finally:
        end(writer)


def _routing_without_drills(folder: Path) -> Path:
    """The project's routing without the condition of a passed drill, which would suppress pages."""
    text = (PROJECT_ROOT / "observability/alerts/routing.yaml").read_text()
    path = folder / "routing.yaml"
    path.write_text(text.replace("hold_until_drill: true", "hold_until_drill: false"))
    return path
