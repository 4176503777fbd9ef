"""The order in which a sync reads its window: day by day, or several new days in one stream."""

from collections.abc import Collection
from datetime import date

from audit_assets.ingest.source import Source
from audit_assets.ingest.windows import Plan, by_day
from audit_assets.warehouse.protocol import DayWindow, start_of

# Rows the planner expects in one stream of new days: enough to fill row groups, little enough to commit in seconds.
ROWS_PER_SPAN = 500_000


def day_windows(source: Source, chosen: Plan, held: Collection[date]) -> list[DayWindow]:
    """The plan's windows, of a UTC day each, that hold rows at the source or (where they are replaced) in the
    warehouse, and last the rows outside all days where the plan reads them."""
    outside = [DayWindow(None, chosen.start, chosen.end)] if chosen.reads_outside else []
    replaced = held if chosen.replace else ()
    listed = source.leading_dates(chosen.start, chosen.end)
    if listed is not None:
        wanted = {*listed, *replaced}
        return [window for window in by_day(chosen.start, chosen.end) if window.day in wanted] + outside
    windows: list[DayWindow] = []
    cursor = chosen.start
    while cursor < chosen.end:
        coming = {day for day in replaced if day >= cursor.date()}
        at_source = source.first_day_from(cursor, chosen.end)
        if at_source is not None:
            coming.add(at_source)
        if not coming:
            break
        window = next(by_day(max(cursor, start_of(min(coming))), chosen.end))
        windows.append(window)
        cursor = window.end
    return windows + outside


def spans(source: Source, chosen: Plan, windows: list[DayWindow], held: Collection[date]) -> list[list[DayWindow]]:
    """`windows` in groups: neighbours that are whole new days together, so far as one stream should carry; every
    other one alone, as is every day whose added rows are to be recorded as repaired."""
    new = [window for window in windows if window.day is not None and window.day not in held]
    if len(new) < 2 or source.times_are_listed or chosen.late_before is not None:
        return [[window] for window in windows]
    expected = source.expected_rows(new[0].start, new[-1].end)
    longest = max(1, min(31, len(new) * ROWS_PER_SPAN // max(expected, 1)))
    groups: list[list[DayWindow]] = []
    for window in windows:
        last = groups[-1] if groups else []
        joins = window in new and last and last[-1] in new and last[-1].end == window.start and len(last) < longest
        if joins:
            last.append(window)
        else:
            groups.append([window])
    return groups
