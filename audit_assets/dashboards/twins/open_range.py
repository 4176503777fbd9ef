"""Rows in BigQuery's words for a tool that fills in the time range itself, when it asks."""

from audit_assets.dashboards.definition import Source, Window
from audit_assets.dashboards.query import Writer

DEFAULT_DAYS = 7
_DAYS = {"2d": 2, "7d": 7, "14d": 14}


class OpenRangeWriter(Writer):
    """Days from `given_first` to `given_last`, expressions of the tool that are null or empty where nobody chose: then
    it is the last seven UTC days. A comma ends each, or nothing is in it."""

    window: Window

    def __init__(self, source: Source, window: Window, given_first: str, given_last: str) -> None:
        super().__init__(source, "bigquery")
        self.window, self.given_first, self.given_last = window, given_first, given_last

    def first(self, days_before: int = 0) -> str:
        return _earlier(self._first(), days_before)

    def last(self, days_before: int = 0) -> str:
        return _earlier(f"coalesce({self.given_last}current_date('UTC'))", days_before)

    def start(self) -> str:
        if self.window == "24h":
            return f"timestamp_sub({self.end()}, interval 24 hour)"
        return f"timestamp({self.first()})"

    def end(self) -> str:
        midnight = f"timestamp(date_add({self.last()}, interval 1 day))"
        return f"least({self.now()}, {midnight})" if self.window == "24h" else midnight

    def now(self) -> str:
        return "current_timestamp()"

    def time(self) -> list[str]:
        """As for the built-in pages; a table without a time of its own is bounded all the same, from 1970 on."""
        if self.source.time is None and self.source.sql is None:
            instants = [name for name, column in self.source.columns.items() if column.type == "instant"]
            return [f"{name} >= timestamp '1970-01-01 00:00:00+00'" for name in instants[:1]]
        return super().time()

    def _first(self) -> str:
        if self.window == "all":
            return "date '1970-01-01'"
        if self.window == "24h":
            return f"date({self.start()})"
        if self.window in _DAYS:
            return self.last(_DAYS[self.window] - 1)
        return f"coalesce({self.given_first}{self.last(DEFAULT_DAYS - 1)})"


def _earlier(day: str, days: int) -> str:
    return f"date_sub({day}, interval {days} day)" if days else day
