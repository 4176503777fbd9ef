"""Decides how much of the source one load reads, and how often a transient failure is retried."""

import time
from datetime import timedelta

from audit_assets.ingest.source_connection import SourceError
from audit_assets.warehouse.protocol import DayWindow, WarehouseMemoryError

# Windows are not split below this: a load that still fails then does not fail because of its length.
SHORTEST_WINDOW = timedelta(minutes=1)

# After a failure a window is cut to a quarter; after this many successful loads its length is doubled.
_CUT, _GROW_AFTER = 4, 4

_FIRST_WAIT_SECONDS = 0.5
_WITHOUT_PROGRESS_SECONDS = 900.0
_DAY = timedelta(days=1)


class Pace:
    """The pace of one sync: whole days until a load fails because of its size, then as much as fits.

    A window that cannot be split further, or that failed for another reason, is retried `retries` times, with waits of
    0.5, 1, 2, … seconds.
    """

    def __init__(self, retries: int) -> None:
        self._retries, self._failures, self._fitted = retries, 0, 0
        self._width: timedelta | None = None
        self._progressed_at = time.monotonic()

    @property
    def is_cut(self) -> bool:
        """Whether windows are shorter than whole days."""
        return self._width is not None

    def part(self, window: DayWindow) -> tuple[DayWindow, DayWindow | None]:
        """The part of `window` to load next, and the rest of it. Rows outside all days are one part."""
        if self._width is None or window.day is None or window.end - window.start <= self._width:
            return window, None
        cut = window.start + self._width
        return DayWindow(window.day, window.start, cut), DayWindow(window.day, cut, window.end)

    def progressed(self) -> None:
        """Call after a load was committed or a query answered."""
        self._failures, self._progressed_at = 0, time.monotonic()
        if self._width is not None:
            self._fitted += 1
            if self._fitted >= _GROW_AFTER:
                self._fitted = 0
                self._width = self._width * 2 if self._width * 2 < _DAY else None

    def failed(self, error: SourceError | WarehouseMemoryError, tried: timedelta | None = None) -> None:
        """Waits until it is time to retry. `tried` is the length of time the load covered, or None if it cannot be
        split. Raises `error` if a retry cannot succeed."""
        passing = isinstance(error, WarehouseMemoryError) or error.is_transient
        if not passing or time.monotonic() - self._progressed_at > _WITHOUT_PROGRESS_SECONDS:
            raise error
        of_size = isinstance(error, WarehouseMemoryError) or error.is_of_size
        if of_size and tried is not None and tried > SHORTEST_WINDOW:
            self._width, self._fitted = max(SHORTEST_WINDOW, min(tried, _DAY * _CUT) / _CUT), 0
            if isinstance(error, WarehouseMemoryError) or error.is_of_query:
                return
        if isinstance(error, WarehouseMemoryError) or self._failures >= self._retries:
            raise error
        time.sleep(_FIRST_WAIT_SECONDS * 2**self._failures)
        self._failures += 1
