"""Rows for tiles from a warehouse that answers queries itself, as BigQuery does, each asked at most once a minute."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl

from audit_assets.dashboards.query import Engine, Query
from audit_assets.dashboards.reader import Freshness, Newest, ReadError, plain
from audit_assets.warehouse.protocol import AnsweringWarehouse, WarehouseError

_RESULTS = 400
_SYNCED = Query(
    "select max(last_synced_at) as last_synced_at from analytics.ai_audit_sync_state where status = 'succeeded'",
    tables=("ai_audit_sync_state",),
)


class WarehouseReader:
    """Asks the warehouse in its own dialect, and keeps what it answered for `kept`, which bounds what a page costs."""

    engine: Engine = "bigquery"
    at_once = 8  # each question takes about a second there, however many are asked

    def __init__(
        self, warehouse: AnsweringWarehouse, now: Callable[[], datetime], kept: timedelta = timedelta(minutes=1)
    ) -> None:
        self._warehouse, self._now, self._kept = warehouse, now, kept
        self._lock = threading.Lock()
        self._results: Newest[object, tuple[datetime, pl.DataFrame]] = Newest(_RESULTS)
        self._asking: Newest[object, threading.Lock] = Newest(_RESULTS)

    def freshness(self) -> Freshness | None:
        """As of the newest sync; None before there was one."""
        try:
            synced = self.read(_SYNCED).item()
        except ReadError:
            return None
        return None if synced is None else Freshness(synced.isoformat(), synced, synced)

    def read(self, query: Query) -> pl.DataFrame:
        key = (query.sql, tuple(sorted(query.parameters.items())))
        with self._lock:
            asking = self._asking.get(key) or self._asking.keep(key, threading.Lock())
        with asking:  # who asks the same meanwhile waits for the answer
            now = self._now()
            with self._lock:
                held = self._results.get(key)
            if held is not None and now - held[0] < self._kept:
                return held[1]
            try:
                found = self._warehouse.rows(query.sql, query.parameters)
            except WarehouseError as error:
                raise ReadError(str(error)) from error
            rows = plain(pl.DataFrame(found))
            with self._lock:
                self._results.keep(key, (now, rows))
            return rows
