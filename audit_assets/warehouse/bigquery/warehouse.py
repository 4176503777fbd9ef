"""The warehouse in BigQuery: one dataset, one writer at a time."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa

from audit_assets.settings import Settings
from audit_assets.warehouse.bigquery.client import in_dataset, open_client, place_of
from audit_assets.warehouse.bigquery.jobs import Connect, Jobs
from audit_assets.warehouse.bigquery.keeper import BigQueryKeeper
from audit_assets.warehouse.bigquery.schema import MADE, create_statements
from audit_assets.warehouse.bigquery.terms import BigQueryTerms
from audit_assets.warehouse.bigquery.writer import BigQueryWriter
from audit_assets.warehouse.lock import exclusive, let_in


class BigQueryWarehouse:
    """Rows in the dataset the settings name. Writers of one deployment take turns by a lock in its home; those of
    another are held apart by BigQuery's own transactions, and by rows being written only where their hash differs."""

    def __init__(
        self,
        settings: Settings,
        terms: BigQueryTerms,
        timeout_seconds: float = 600.0,
        connect: "Connect | None" = None,
    ) -> None:
        self.place, self._terms = place_of(settings), terms
        self._lock_path, self._timeout_seconds = settings.home / "bigquery.lock", timeout_seconds
        self._jobs = Jobs(connect or (lambda: open_client(self.place)), self.place, terms)
        self._is_made = False

    @contextmanager
    def exclusive(self, purpose: str) -> Generator[None]:
        """The lock alone, for a tool (dbt) that asks BigQuery itself."""
        with exclusive(self._lock_path, purpose, self._timeout_seconds):
            yield

    @contextmanager
    def writer(self, purpose: str) -> Generator[BigQueryWriter]:
        with self.exclusive(purpose):
            self._make_tables()
            yield BigQueryWriter(self._jobs, _utc_now)

    @contextmanager
    def keeper(self, purpose: str) -> Generator[BigQueryKeeper]:
        with self.exclusive(purpose), self.opened() as keeper:
            yield keeper

    @contextmanager
    def opened(self) -> Generator[BigQueryKeeper]:
        self._make_tables()
        yield BigQueryKeeper(self._jobs, _utc_now)

    @contextmanager
    def whole_keeper(self, purpose: str) -> Generator[BigQueryKeeper]:
        """A keeper for which no table stays in BigQuery: to recount from raw rows here."""
        with self.exclusive(purpose):
            self._make_tables()
            yield BigQueryKeeper(self._jobs, _utc_now, stay=())

    def let_others_in(self) -> None:
        """Called between two days of a long run, with the lock released."""
        let_in()

    def rows(self, sql: str, parameters: Mapping[str, Sequence[str]]) -> pa.Table:
        """The rows of a query in BigQuery's dialect, asked without the lock."""
        return self._jobs.arrow(in_dataset(sql, self.place), parameters)

    def _make_tables(self) -> None:
        """Makes the tables that are missing: a list of them is one request, and no job."""
        if self._is_made:
            return
        held = self._jobs.tables()
        if not held >= MADE:
            self._jobs.make_dataset()
            for statement in create_statements(self.place, self._terms, held):
                self._jobs.rows(statement)
        self._is_made = True


def _utc_now() -> datetime:
    return datetime.now(UTC)
