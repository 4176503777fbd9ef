"""Synthetic audit records for the reference engine: valid and invalid values of sources."""

import random
from collections.abc import Iterator
from datetime import date, timedelta

from audit_assets_tests.models.conftest import Models, Row
from audit_assets_tests.reference_models import NOW

STATUSES = (
    "success",
    "success",
    "success",
    " SUCCESS\t",
    "failed",
    "error",
    "pending",
    "processing",
    "weird",
    "200",
    "HTTP 503",
    "Rate-Limited",
    "",
    None,
)
DURATIONS = (
    "100", "100", "100", "250.5", " 7 ", "0", "-0", "-5", "1e3", ".5", "5.", "+5", "1e12", "1.1e12", "1e400", "1_000",
    "0x10", "NaN", "-inf", "infinity", "abc", "", " ", "12ms", "1,5", "１２", "9" * 40, None,
)  # fmt: skip
COUNTS = (
    "12",
    "12.0",
    "0",
    "-1",
    "1.5",
    "x",
    "",
    "1e2",
    "9007199254740993",
    "9223372036854775808",
    "1e16",
    "4.0000000000000000001",
    None,
)
DOCUMENTS = (
    '["a", "b"]', "[]", "[1, [2, 3], {}]", "{}", "null", "[", '"a"', " [1] ", "[1e30]", '{"a":1,"a":2}', "", None,
)  # fmt: skip
WORKSPACES = ("w1", "w2", " w3 ", "w3", "w\u00e4", "", "\u00a0", None)
PROVIDERS = ("openai", "anthropic", " openai\n", "stub", "STUB", "", None)


def made(
    generator: random.Random, day: date, count: int, capability: str | None, drill: str | None = None
) -> Iterator[Row]:
    """Rows of one capability on one day."""
    for n in range(count):
        hour, minute, second = generator.randrange(24), generator.randrange(60), generator.randrange(60)
        at = f"{day} {hour:02}:{minute:02}:{second:02}.{n % 7:06}+00"
        yield Row(
            id=f"{capability}-{drill}-{day}-{n}",
            created_at=at if str(day) < NOW[:10] else f"{day} 0{n % 10}:30:00+00",
            workflow_id=generator.choice(WORKSPACES),
            capability=capability,
            provider=generator.choice(PROVIDERS),
            status=generator.choice(STATUSES),
            error_flag=generator.choice((None, None, False, True)),
            duration_ms=generator.choice((*DURATIONS, str(generator.lognormvariate(7, 1)))),
            model=generator.choice((None, " gpt ", "")),
            model_parameters=generator.choice((None, '{"t": 1}')),
            completion_id=generator.choice((None, "c", "d", f"{day}-{n}")),
            prompt_tokens=generator.choice(COUNTS),
            completion_tokens=generator.choice(COUNTS),
            source_documents=generator.choice(DOCUMENTS),
            snapshot_id=generator.choice((None, " s1")),
            drill_id=drill,
            prompt_length=generator.choice((None, 0, 40)),
        )


def days_from(first: str, last: str = "2026-11-05") -> Iterator[date]:
    at = date.fromisoformat(first)
    while at <= date.fromisoformat(last):
        yield at
        at += timedelta(days=1)


def rows_of_months() -> Iterator[Row]:
    """Rows over eleven weeks, of capabilities with calls every day, on one weekday, with gaps, new, back after months,
    and with spikes and drops."""
    generator = random.Random(1)
    for day in days_from("2026-08-20"):
        yield from made(generator, day, {"2026-11-02": 110, "2026-10-30": 1}.get(str(day), 4), "chat")
        if day.weekday() == 2:
            yield from made(generator, day, 5 + day.day % 3, "digest")
        yield from made(
            generator, day, generator.choice((0, 0, 1, 3)), generator.choice(("extract", " extract ", None))
        )
    for day in [*days_from("2026-06-01", "2026-06-03"), *days_from("2026-11-02", "2026-11-03")]:
        yield from made(generator, day, 2, "archive")
    for day in days_from("2026-10-28"):
        yield from made(generator, day, 3, "fresh")
        yield from made(generator, day, 2, "chat", drill="d1")


def rows_of_steps(first: str, count: int) -> Iterator[Row]:
    """Rows over days with a clock change, at least `count` per day. A capability and a drill start late."""
    generator = random.Random(2)
    for day in days_from(first):
        yield from made(generator, day, count + generator.randrange(20), "chat")
    for day in days_from("2026-11-04"):
        yield from made(generator, day, 5, "extract")
        yield from made(generator, day, 4, "chat", drill="d1")


def change_two_days(duckdb: Models) -> None:
    """Adds late rows on the first day to rebuild, and deletes all rows of the second."""
    generator = random.Random(3)
    duckdb.load([*made(generator, date(2026, 11, 1), 6, "chat"), *made(generator, date(2026, 11, 1), 2, "late")])
    duckdb.execute("delete from ai_audit_logs where cast(created_at as date) = '2026-11-03'")
