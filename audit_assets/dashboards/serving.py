"""The dashboards as a server: settings to a board, and threads that answer."""

import logging
from collections.abc import Callable
from urllib.parse import urlencode

import waitress

from audit_assets.alerting.links import Links
from audit_assets.dashboards.addresses import Addresses
from audit_assets.dashboards.app import make_app
from audit_assets.dashboards.board import Board
from audit_assets.dashboards.load import load_definition
from audit_assets.dashboards.reader import SnapshotReader
from audit_assets.rules.load import load_rules
from audit_assets.settings import Settings

_THREADS = 6  # a browser asks for six things at once


def serve_dashboards(settings: Settings, host: str, port: int, ready: Callable[[], None]) -> None:
    """Answers on `host` and `port` until the process is told to end. Raises DefinitionError."""
    app = make_app(make_board(settings), settings.home / "cache" / "dashboards")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a page's scripts queue for a moment each time
    server = waitress.create_server(app, host=host, port=port, threads=_THREADS, ident=None)
    ready()
    try:
        server.run()
    except KeyboardInterrupt:
        server.close()


def make_board(settings: Settings) -> Board:
    """What the pages are made of, as the settings say. Raises DefinitionError."""
    rules = load_rules(settings.rules_folder).rules
    links = Links(settings.dashboard_url, settings.docs_url, settings.pagerduty_web_url or "", settings.pagerduty_service_id)
    addresses = Addresses(
        app=settings.app_url,
        docs=settings.docs_url,
        dagster=settings.dagster_url,
        draft=_draft(links),
        runbooks={rule.id: rule.runbook for rule in rules},
    )
    return Board(load_definition(settings.dashboards_folder), SnapshotReader(settings.snapshot_folder), addresses)


def _draft(links: Links) -> str:
    """A new incident at PagerDuty, its title filled in for a row."""
    if not links.pagerduty_url:
        return ""
    asked = urlencode({"service_id": links.pagerduty_service_id} if links.pagerduty_service_id else {})
    title = "title=AI Copilot Audit: {capability} {deviation_state} on {date}".replace(" ", "%20")
    return f"{links.pagerduty_url.rstrip('/')}/incidents/create?{asked}{'&' if asked else ''}{title}"
