"""The arithmetic and the table of the benchmarks."""

import json
from io import StringIO

import pytest
from rich.console import Console

from benchmarks.ages import ages_of, figures_of
from benchmarks.figure import Figure, at_least, at_most, percentile, ratio_of_medians
from benchmarks.machine import this_machine
from benchmarks.report import as_json, table_of


def test_a_figure_is_judged_by_its_aim() -> None:
    assert Figure("ratio", 1.2, "×", at_most(1.2)).result == "reached"
    assert Figure("ratio", 1.21, "×", at_most(1.2)).result == "missed"
    assert Figure("times faster", 2.9, "×", at_least(3)).result == "missed"
    assert Figure("no aim", 2.9, "s").result == "no aim"
    assert Figure("could not be taken", None, "s", at_most(1)).result == "skipped"


def test_a_ratio_is_of_medians_and_one_slow_round_does_not_move_it() -> None:
    assert ratio_of_medians([2.0, 2.0, 60.0], [1.0, 1.0, 1.0]) == 2.0


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile(range(1, 101), 95) == 95
    assert percentile([3.0], 99) == 3.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_row_that_is_never_seen_is_missing_and_has_no_age() -> None:
    ages = ages_of("a 100.0\nb 101.0\nc 102.0\n", "a 110.5\nb 111.0\n")

    assert ages.seconds == (10.5, 10.0)
    assert (ages.committed, ages.missing) == (3, 1)
    assert [figure.result for figure in figures_of(ages, during_backfill=False)][-1] == "missed"


def test_during_a_backfill_only_rows_committed_meanwhile_have_an_age() -> None:
    ages = ages_of("a 100.0\nb 200.0\nc 300.0\n", "a 190.0\nb 210.0\nc 301.0\n", between=(150.0, 250.0))

    assert ages.seconds == (10.0,)
    assert ages.missing == 0


def test_a_run_that_saw_no_row_reports_no_percentile() -> None:
    latencies = figures_of(ages_of("a 100.0\n", ""), during_backfill=False)

    assert [figure.result for figure in latencies] == ["skipped", "skipped", "skipped", "missed"]


def test_the_table_and_the_json_have_figure_aim_result_and_machine() -> None:
    machine = this_machine()
    taken = {"ingest": (Figure("first load / binary COPY", 1.15, "×", at_most(1.2), "3 rounds"),)}
    printed = StringIO()

    Console(width=160, file=printed).print(table_of(taken, quick=True))
    document = json.loads(as_json(machine, True, taken))

    assert machine.cores >= 1
    assert document["benchmarks"]["ingest"][0]["verdict"] == "reached"
    assert document["machine"]["measured_at"].endswith("+00:00")
    assert all(
        part in printed.getvalue() for part in ("first load / binary COPY", "≤ 1.2 ×", "1.15 ×", "reached", "3 rounds")
    )
