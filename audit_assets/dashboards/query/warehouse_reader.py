"""Runs tile queries on a queryable warehouse such as BigQuery, each at most once per minute."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl

from audit_assets.dashboards.query.reader import BoundedCache, Freshness, ReadError, plain
from audit_assets.dashboards.query.sql import Engine, Query
from audit_assets.warehouse.builds import FACTS_SYNCED_AT
from audit_assets.warehouse.protocol import QueryableWarehouse, WarehouseError

_RESULTS = 400
_SYNCED = Query(FACTS_SYNCED_AT, tables=("ai_audit_model_builds", "ai_audit_sync_state"))


class WarehouseReader:
    """Queries the warehouse in its own dialect and caches results for `ttl`, which bounds the cost of a page."""

    engine: Engine = "bigquery"
    max_concurrency = 8  # a query takes about a second, however many run

    def __init__(
        self, warehouse: QueryableWarehouse, now: Callable[[], datetime], ttl: timedelta = timedelta(minutes=1)
    ) -> None:
        self._warehouse, self._now, self._ttl = warehouse, now, ttl
        self._lock = threading.Lock()
        self._results: BoundedCache[object, tuple[datetime, pl.DataFrame]] = BoundedCache(_RESULTS)
        self._locks: BoundedCache[object, threading.Lock] = BoundedCache(_RESULTS)

    def freshness(self) -> Freshness | None:
        """As of the newest sync whose rows every model has read; None before the first."""
        try:
            synced = self.read(_SYNCED).item()
        except ReadError:
            return None
        return None if synced is None else Freshness(synced.isoformat(), synced, synced)

    def read(self, query: Query) -> pl.DataFrame:
        key = (query.sql, tuple(sorted(query.parameters.items())))
        with self._lock:
            query_lock = self._locks.get(key) or self._locks.put(key, threading.Lock())
        with query_lock:  # concurrent reads of the same query wait for its result
            now = self._now()
            with self._lock:
                cached = self._results.get(key)
            if cached is not None and now - cached[0] < self._ttl:
                return cached[1]
            try:
                found = self._warehouse.rows(query.sql, query.parameters)
            except WarehouseError as error:
                raise ReadError(str(error)) from error
            rows = plain(pl.DataFrame(found))
            with self._lock:
                self._results.put(key, (now, rows))
            return rows
