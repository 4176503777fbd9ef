"""The dashboards as a server: settings to a board, and threads that answer."""

import logging
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import flask
from waitress.server import create_server

from audit_assets.alerting.pagerduty_event import draft_link
from audit_assets.dashboards.addresses import Addresses
from audit_assets.dashboards.app import make_app
from audit_assets.dashboards.board import Board
from audit_assets.dashboards.definition import Definition
from audit_assets.dashboards.load import load_definition
from audit_assets.dashboards.reader import Reader, SnapshotReader
from audit_assets.dashboards.warehouse_reader import WarehouseReader
from audit_assets.ingest.policy import read_policy
from audit_assets.rules.load import load_rules
from audit_assets.settings import Settings

_THREADS = 6  # a browser asks for six things at once


def serve_dashboards(settings: Settings, host: str, port: int, ready: Callable[[], None]) -> None:
    """Answers on `host` and `port` until the process is told to end. Raises DefinitionError."""
    app = make_app(make_board(settings), settings.home / "cache" / "dashboards")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a page's scripts queue for a moment each time
    server = create_server(app, host=host, port=port, threads=_THREADS, ident=None)
    threading.Thread(target=_warm, args=(app,), daemon=True).start()
    ready()
    try:
        server.run()
    except KeyboardInterrupt:
        server.close()


def _warm(app: flask.Flask) -> None:
    """Asks for the first page's scripts and styles once: to compress the largest takes seconds, and is then kept."""
    browser = app.test_client()
    page = browser.get("/").get_data(as_text=True)
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        browser.get(address, headers={"Accept-Encoding": "br"})


def make_board(settings: Settings) -> Board:
    """What the pages are made of, as the settings say. Raises DefinitionError."""
    rules = load_rules(settings.rules_folder).rules
    account, service = settings.pagerduty_web_url or "", settings.pagerduty_service_id
    addresses = Addresses(
        app=settings.app_url,
        docs=settings.docs_url,
        dagster=settings.dagster_url,
        draft=lambda title: draft_link(account, title, service),
        runbooks={rule.id: rule.runbook for rule in rules},
    )
    definition = load_definition(settings.dashboards_folder)
    return Board(definition, make_reader(settings, definition), addresses)


def make_reader(settings: Settings, definition: Definition | None = None) -> Reader:
    """What the pages read: BigQuery itself, or the snapshot, whose tables of `definition` are held in memory."""
    if settings.engine == "duckdb":
        return SnapshotReader(settings.snapshot_folder, definition.reads if definition else ())
    from audit_assets.warehouse.bigquery.warehouse import BigQueryWarehouse

    warehouse = BigQueryWarehouse(settings, read_policy(settings.policy_file).bigquery)
    return WarehouseReader(warehouse, lambda: datetime.now(UTC))
