"""The warehouse in BigQuery: one dataset, one writer at a time."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa

from audit_assets.settings import Settings
from audit_assets.warehouse.bigquery.client import BigQueryOptions, in_dataset, location_of, open_client
from audit_assets.warehouse.bigquery.jobs import Connect, Jobs
from audit_assets.warehouse.bigquery.maintenance import BigQueryMaintenance
from audit_assets.warehouse.bigquery.schema import ALL_TABLES, create_statements
from audit_assets.warehouse.bigquery.writer import BigQueryWriter
from audit_assets.warehouse.duckdb.lock import exclusive, yield_lock

_STATE = "ai_audit_sync_state"


class BigQueryWarehouse:
    """Rows in the dataset the settings name.

    Writers of one deployment exclude each other by a lock in its home. Writers of other deployments are isolated by
    BigQuery's transactions, and because rows are written only if their hash differs.
    """

    def __init__(
        self,
        settings: Settings,
        options: BigQueryOptions,
        timeout_seconds: float = 600.0,
        connect: "Connect | None" = None,
    ) -> None:
        self.location, self._options = location_of(settings), options
        self._lock_path, self._timeout_seconds = settings.home / "bigquery.lock", timeout_seconds
        self._jobs = Jobs(connect or (lambda: open_client(self.location)), self.location, options)
        self._tables_exist = False

    @contextmanager
    def exclusive(self, purpose: str, timeout_seconds: float | None = None) -> Generator[None]:
        """Only the lock, for a tool (dbt) that queries BigQuery itself."""
        with exclusive(self._lock_path, purpose, self._timeout_seconds if timeout_seconds is None else timeout_seconds):
            yield

    @contextmanager
    def writer(self, purpose: str, timeout_seconds: float | None = None) -> Generator[BigQueryWriter]:
        with self.exclusive(purpose, timeout_seconds):
            self._make_tables()
            yield BigQueryWriter(self._jobs, _utc_now)

    @contextmanager
    def maintenance(self, purpose: str) -> Generator[BigQueryMaintenance]:
        with self.exclusive(purpose), self.maintenance_without_lock() as maintenance:
            yield maintenance

    @contextmanager
    def maintenance_without_lock(self) -> Generator[BigQueryMaintenance]:
        self._make_tables()
        yield BigQueryMaintenance(self._jobs, _utc_now)

    @contextmanager
    def maintenance_of_all_tables(self, purpose: str) -> Generator[BigQueryMaintenance]:
        """A maintenance session that publishes every table, to recount from raw rows locally."""
        with self.exclusive(purpose):
            self._make_tables()
            yield BigQueryMaintenance(self._jobs, _utc_now, not_published=())

    def yield_lock(self) -> None:
        """Call it between two days of a long run, with the lock released."""
        yield_lock()

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> pa.Table:
        """The rows of a query in BigQuery's dialect, without the lock."""
        return self._jobs.arrow(in_dataset(sql, self.location), parameters)

    def _make_tables(self) -> None:
        """Creates missing tables and columns. If nothing is missing, it takes two requests and no job."""
        if self._tables_exist:
            return
        existing = self._jobs.tables()
        if not existing >= ALL_TABLES:
            self._jobs.make_dataset()
        state_columns = self._jobs.columns(_STATE) if _STATE in existing else frozenset[str]()
        for statement in create_statements(self.location, self._options, existing, state_columns):
            self._jobs.rows(statement)
        self._tables_exist = True


def _utc_now() -> datetime:
    return datetime.now(UTC)
