"""Computes the age of rows when they were first visible, from the two files of a run. Pure."""

from dataclasses import dataclass

from benchmarks.figure import Figure, at_most, percentile


@dataclass(frozen=True)
class Ages:
    """`seconds` from commit to first visibility of the counted rows; the numbers of all committed rows and of rows that
    were never seen."""

    seconds: tuple[float, ...]
    committed: int
    missing: int


def ages_of(committed: str, seen: str, between: tuple[float, float] | None = None) -> Ages:
    """Both texts have one line per row: id and epoch seconds. With `between`, only rows committed in that span (epoch
    seconds) count for ages."""
    begun, found = _times(committed), _times(seen)
    counted = [
        found[id_] - at
        for id_, at in begun.items()
        if id_ in found and (between is None or between[0] <= at <= between[1])
    ]
    return Ages(tuple(counted), len(begun), len(begun.keys() - found.keys()))


def figures_of(ages: Ages, during_backfill: bool) -> tuple[Figure, ...]:
    when = " during a 60-day backfill" if during_backfill else ""
    aims = {50: None, 95: at_most(120 if during_backfill else 60), 99: None if during_backfill else at_most(90)}
    of = f"of {len(ages.seconds):,} rows"
    detail = f"{of}, up to {max(ages.seconds):.1f} s" if ages.seconds else of
    latencies = [
        Figure(
            f"commit to visible{when}, p{percent}",
            percentile(ages.seconds, percent) if ages.seconds else None,
            "s",
            aim,
            detail,
        )
        for percent, aim in aims.items()
    ]
    return (
        *latencies,
        Figure(f"rows missing{when}", ages.missing, "rows", at_most(0), f"of {ages.committed:,} committed"),
    )


def _times(text: str) -> dict[str, float]:
    return {id_: float(at) for id_, at in (line.split() for line in text.splitlines())}
