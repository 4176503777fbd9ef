"""How old rows were when they were first seen: from the two files of a run to figures. Pure."""

from dataclasses import dataclass

from benchmarks.figure import Figure, at_most, percentile


@dataclass(frozen=True)
class Ages:
    """Seconds from commit to first look, of the rows that count; how many of all rows were never seen, or seen twice
    as often as committed."""

    seconds: tuple[float, ...]
    committed: int
    missing: int


def ages_of(committed: str, seen: str, between: tuple[float, float] | None = None) -> Ages:
    """Each text has a line a row, its id and epoch seconds. `between`: only rows committed then count for ages."""
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
    told = f"{of}, up to {max(ages.seconds):.1f} s" if ages.seconds else of
    latencies = [
        Figure(
            f"commit to visible{when}, p{percent}",
            percentile(ages.seconds, percent) if ages.seconds else None,
            "s",
            aim,
            told,
        )
        for percent, aim in aims.items()
    ]
    return (
        *latencies,
        Figure(f"rows missing{when}", ages.missing, "rows", at_most(0), f"of {ages.committed:,} committed"),
    )


def _times(text: str) -> dict[str, float]:
    return {id_: float(at) for id_, at in (line.split() for line in text.splitlines())}
