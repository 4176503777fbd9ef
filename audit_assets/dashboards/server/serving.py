"""Serves the dashboards: builds the page renderer from the settings and runs the WSGI server."""

import logging
import re
import threading
from collections.abc import Callable

import flask
from waitress.server import create_server

from audit_assets.alerting.channels.pagerduty_event import draft_link
from audit_assets.clock import Clock
from audit_assets.dashboards.definition.load import load_definition
from audit_assets.dashboards.definition.model import Definition
from audit_assets.dashboards.query.reader import Reader, SnapshotReader
from audit_assets.dashboards.query.warehouse_reader import WarehouseReader
from audit_assets.dashboards.render.links import Links
from audit_assets.dashboards.render.page_renderer import PageRenderer
from audit_assets.dashboards.server.app import make_app
from audit_assets.dashboards.server.guard import LONGEST_BODY, allow_hosts
from audit_assets.ingest.policy import read_policy
from audit_assets.request_guard import allowed_hosts
from audit_assets.rules.load import load_rules
from audit_assets.settings import Settings

_THREADS = 6  # a browser opens six connections


def serve_dashboards(settings: Settings, host: str, port: int, ready: Callable[[], None], clock: Clock) -> None:
    """Serves on `host` and `port`, as of `clock`, until the process is stopped. Raises DefinitionError."""
    app = make_app(make_page_renderer(settings), clock)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns on every page, whose scripts queue briefly
    allowed = allowed_hosts(port, host, settings.dashboard_url, settings.allowed_hosts)
    guarded = allow_hosts(app, allowed)
    server = create_server(
        guarded, host=host, port=port, threads=_THREADS, ident=None, max_request_body_size=LONGEST_BODY
    )
    threading.Thread(target=_warm, args=(app,), daemon=True).start()
    ready()
    try:
        server.run()
    except KeyboardInterrupt:
        server.close()


def _warm(app: flask.Flask) -> None:
    """Requests the first page's scripts and styles once, because compressing the largest takes seconds."""
    browser = app.test_client()
    page = browser.get("/").get_data(as_text=True)
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        browser.get(address, headers={"Accept-Encoding": "br"})


def make_page_renderer(settings: Settings) -> PageRenderer:
    """The page renderer for the settings. Raises DefinitionError."""
    rules = load_rules(settings.rules_folder).rules
    account, service = settings.pagerduty_web_url or "", settings.pagerduty_service_id
    links = Links(
        app=settings.app_url,
        docs=settings.docs_url,
        dagster=settings.dagster_url,
        draft=lambda title: draft_link(account, title, service),
        runbooks={rule.id: rule.runbook for rule in rules},
    )
    definition = load_definition(settings.dashboards_folder)
    return PageRenderer(definition, make_reader(settings, definition), links)


def make_reader(settings: Settings, definition: Definition | None = None) -> Reader:
    """The reader for the pages: BigQuery, or the published snapshot with the tables of `definition` in memory."""
    if settings.engine == "duckdb":
        return SnapshotReader(settings.snapshot_folder, definition.reads if definition else ())
    from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse

    warehouse = BigQueryWarehouse(settings, read_policy(settings.policy_file).bigquery)
    return WarehouseReader(warehouse, Clock())
