"""Which UTC days the models have yet to read: the counters of ai_audit_days, kept so that a killed run is finished."""

from collections.abc import Collection
from datetime import date

import duckdb

from audit_assets.warehouse.schema import SCHEMA

_DAYS = f"{SCHEMA}.ai_audit_days"


def unbuilt_days(connection: duckdb.DuckDBPyConnection) -> tuple[date, ...]:
    """The UTC days that changed since the models last read them."""
    rows = connection.execute(f"select date from {_DAYS} where loads > loads_built order by date").fetchall()
    return tuple(day for (day,) in rows)


def mark_built(connection: duckdb.DuckDBPyConnection, days: Collection[date]) -> None:
    """Records that the models have read `days`. The caller has held the lock since before they did."""
    for day in sorted(days):
        connection.execute(
            f"""merge into {_DAYS} held using (select ?::date as date) built on held.date = built.date
            when matched then update set loads_built = held.loads, builds = held.builds + 1
            when not matched then insert (date, loads, loads_built, builds) values (built.date, 0, 0, 1)""",
            [day],
        )


def build_counts(connection: duckdb.DuckDBPyConnection) -> dict[date, int]:
    """UTC day → how often the models have built it."""
    return dict(connection.execute(f"select date, builds from {_DAYS} where builds > 0 order by date").fetchall())
