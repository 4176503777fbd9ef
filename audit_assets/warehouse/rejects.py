"""Refused rows in the DuckDB tables: ids held twice, and the record of every row that was not loaded."""

from datetime import datetime

import duckdb

from audit_assets.warehouse.protocol import DayWindow, Load, LoadCounts, LoadTerms
from audit_assets.warehouse.raw import AS_JSON, RAW, count_days, days_in, fetched, inside, of_its_day
from audit_assets.warehouse.schema import SCHEMA

_REJECTS = f"{SCHEMA}.ai_audit_rejects"


def refuse_arrived_doubles(connection: duckdb.DuckDBPyConnection, window: DayWindow) -> None:
    """Marks doubles in `arrived`: those among its rows, and those refused before because a later day holds their id,
    which stay refused while it does."""
    refuse_doubles_among_arrived(connection)
    known = f"select source_id, row_hash from {_REJECTS} where reject_day = ? and reason = 'duplicate_id'"
    (refused_before,) = fetched(connection, f"select count(*) from ({known})", [window.day])
    if refused_before:
        connection.execute(
            f"""update arrived set reject_reason = 'duplicate_id'
            from ({known}) known
            where arrived.reject_reason is null
                and arrived.id = known.source_id and arrived.row_hash = known.row_hash
                and arrived.id in (
                    select id from {RAW} where not ({of_its_day(window)}) and created_at > arrived.created_at
                )""",
            [window.day],
        )


def refuse_doubles_among_arrived(connection: duckdb.DuckDBPyConnection) -> None:
    """Marks doubles in `arrived`. A source without a key may hold an id twice: the newest row stays, the others are
    refused."""
    (doubles,) = fetched(
        connection,
        """select count(*) from (
            select id from arrived where reject_reason is null group by id having count(*) > 1
        )""",
    )
    if doubles:
        connection.execute("""
            update arrived set reject_reason = 'duplicate_id'
            from (
                select rowid as row, row_number() over (
                    partition by id order by created_at desc, row_hash desc, rowid
                ) as nth
                from arrived where reject_reason is null
            ) ranked
            where arrived.rowid = ranked.row and nth > 1
        """)


def counted_by_reason(connection: duckdb.DuckDBPyConnection) -> tuple[int, dict[str, int]]:
    """How many rows `arrived`, and how many of them are refused, by reason."""
    reasons = connection.execute(
        "select reject_reason, count(*) from arrived group by reject_reason order by reject_reason"
    ).fetchall()
    return sum(count for _, count in reasons), {reason: count for reason, count in reasons if reason is not None}


def refuse_doubles(connection: duckdb.DuckDBPyConnection, sync_id: str, mode: str, synced_at: datetime) -> Load:
    """Refuses, as `duplicate_id`, every row whose id a newer row of another day has; the versions stay in the diff."""
    connection.execute(f"""
        create or replace temp table doubled as
        select * from {RAW} where id in (select id from {RAW} group by id having count(*) > 1)
        qualify row_number() over (partition by id order by created_at desc, row_hash desc) > 1
    """)
    connection.execute(
        f"""insert into {SCHEMA}.ai_audit_repair_diff
        select ?, ?, ?, 'gone', id, created_at, {AS_JSON.format("doubled")}, null from doubled""",
        [sync_id, synced_at, mode],
    )
    connection.execute(
        f"""insert into {_REJECTS} by name
        select cast(created_at as date) as reject_day, 'duplicate_id' as reason, id as source_id,
            created_at::varchar as created_at_text, created_at, row_hash, 1 as row_count,
            ?::timestamptz as first_seen_at, ?::timestamptz as last_seen_at
        from doubled""",
        [synced_at, synced_at],
    )
    connection.execute(
        f"delete from {RAW} held using doubled where held.id = doubled.id and held.created_at = doubled.created_at"
    )
    days = days_in(connection, "select distinct cast(created_at as date) from doubled")
    (refused,) = fetched(connection, "select count(*) from doubled")
    count_days(connection, days, days)
    connection.execute("drop table doubled")
    return Load(LoadCounts(removed=refused, rejected={"duplicate_id": refused}), tuple(sorted(days)))


def write_rejects(connection: duckdb.DuckDBPyConnection, window: DayWindow, terms: LoadTerms) -> None:
    """Puts the refused rows of `arrived` in place of those known of the part that was read, so that reading a row
    again never counts it twice; when each was first seen is kept.

    A delta reads its window, and of the rows without a usable time all that its day holds.
    """
    read_again = "reject_day is not distinct from ?"
    if not terms.replace:
        read_again += f" and (created_at is null or ({inside(window)}))"
    known = f"(select * from {_REJECTS} where {read_again})"
    (refused_or_known,) = fetched(
        connection,
        f"select (select count(*) from arrived where reject_reason is not null) + (select count(*) from {known})",
        [window.day],
    )
    if not refused_or_known:
        return
    connection.execute(
        f"""create or replace temp table refused as
        with now_refused as (
            select reject_reason as reason, id as source_id,
                coalesce(created_at_text, created_at::varchar) as time_text, created_at, row_hash, count(*) as row_count
            from arrived where reject_reason is not null group by all
        ), known as (
            select reason, source_id, row_hash, min(first_seen_at) as first_seen_at
            from {known} group by all
        )
        select cast(? as date) as reject_day, now_refused.reason, now_refused.source_id,
            now_refused.time_text as created_at_text, now_refused.created_at, now_refused.row_hash,
            now_refused.row_count, coalesce(known.first_seen_at, ?) as first_seen_at, ? as last_seen_at
        from now_refused left join known on known.reason = now_refused.reason
            and known.row_hash = now_refused.row_hash
            and known.source_id is not distinct from now_refused.source_id""",
        [window.day, window.day, terms.synced_at, terms.synced_at],
    )
    connection.execute(f"delete from {_REJECTS} where {read_again}", [window.day])
    connection.execute(f"insert into {_REJECTS} by name select * from refused")
    connection.execute("drop table refused")
