"""The rule language: what it rejects, with which message, and that accepted expressions mean what they say."""

import re
from collections.abc import Mapping
from typing import TypeAlias

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_assets.rules.evaluate import example_rows
from audit_assets.rules.expression import FUNCTIONS, KEYWORDS, ExpressionError, compile_condition, compile_figure
from audit_assets.rules.facts import TABLES

DAYS = "ai_audit_capability_anomalies"
GRID = "ai_audit_capability_grid"

pytestmark = pytest.mark.requirement("R37")


def error_of(text: str, watch: str = GRID) -> str:
    with pytest.raises(ExpressionError) as raised:
        compile_condition(text, watch)
    return str(raised.value)


def answer(text: str, watch: str = GRID, /, **row: float | str | None) -> bool | None:
    return example_rows(TABLES[watch], row).select(compile_condition(text, watch).polars).item()


def test_zero_divided_by_zero_does_not_fire():
    assert answer("error_count / success_count > 0.05", error_count=0, success_count=0) is None


def test_division_by_zero_cannot_be_judged():
    assert answer("error_count / success_count > 0.05", error_count=7, success_count=0) is None
    assert answer("error_count % success_count > 0", error_count=7, success_count=0) is None


def test_a_bracketed_signed_or_called_divisor_is_guarded_too():
    for divisor in (
        "(success_count + unknown_count)",
        "-success_count",
        "abs(success_count)",
        "(abs((success_count)))",
    ):
        assert answer(f"error_count / {divisor} > -1", error_count=0, success_count=0, unknown_count=0) is None


def test_a_guarded_division_still_divides_from_left_to_right():
    counts = {"error_count": 24, "success_count": 4, "unknown_count": 3}
    assert answer("error_count / success_count / unknown_count = 2", **counts) is True
    assert answer("error_count / success_count * unknown_count = 18", **counts) is True
    assert answer("error_count / (success_count / unknown_count) = 18", **counts) is True
    assert answer("error_count % (success_count + 1) * unknown_count = 12", **counts) is True
    assert answer("unknown_count - error_count % (success_count + 1) = -1", **counts) is True


def test_counts_divide_into_shares_and_not_into_whole_numbers():
    assert answer("error_count / success_count > 0.05", error_count=1, success_count=10) is True


def test_a_share_equal_to_the_threshold_is_not_above_it():
    assert answer("error_count / (success_count + error_count) > 0.05", error_count=5, success_count=95) is False


@pytest.mark.parametrize("text", ["sum(error_count) > 1", "MAX(error_count) > 1", "count(error_count) > 1"])
def test_an_aggregate_is_rejected_because_it_reads_all_rows(text: str):
    assert "reads several rows; a condition sees one row" in error_of(text)


@pytest.mark.parametrize(
    "text", ["lag(error_count) > 1", "error_count over (partition by capability) > 1", "rank(error_count) > 1"]
)
def test_a_window_function_is_rejected(text: str):
    assert "reads several rows" in error_of(text)


def test_percent_is_rejected_because_it_would_be_an_alias():
    assert error_of("error_count > 5 percent") == "percent is not part of the rule language; write 0.05 for 5 %"
    assert error_of("error_count > 5 %") == "% is the remainder operator; write 0.05 for 5 %"


@pytest.mark.parametrize(
    "text", ["error_count > 5 as surge", "error_count > 5 error_count", "error_count > 5 null", "error_count null"]
)
def test_an_alias_is_rejected_under_any_name(text: str):
    assert error_of(text)


@pytest.mark.parametrize("text", ["now() > 5", "step_start > 5", "date + interval '1 day' > date", "current_date > 1"])
def test_clocks_and_times_are_rejected(text: str):
    assert "compute the minutes in a column" in error_of(text)


@pytest.mark.parametrize("text", ["1 > 0", "0/0 > 0.05", "not 1 = 2"])
def test_a_condition_without_a_column_is_rejected(text: str):
    assert error_of(text) == f"names no column of {GRID}, so it is the same for every row; compare a column"


@pytest.mark.parametrize("text", ["error_count", "error_count + 1", "error_count and success_count", "capability"])
def test_a_condition_that_is_not_boolean_is_rejected(text: str):
    assert error_of(text)


def test_an_unknown_column_is_reported_with_a_suggestion():
    assert error_of("eror_count > 1") == f"eror_count: unknown column of {GRID}; did you mean error_count?"
    assert error_of("Error_Count > 1").endswith("did you mean error_count?")
    assert error_of("wholly_other > 1") == f"wholly_other: unknown column of {GRID}"
    assert error_of("true").startswith("true: unknown column")


def test_an_unknown_function_is_reported_with_a_suggestion():
    assert error_of("rond(error_count) > 1") == "rond: unknown function; did you mean round?"
    assert error_of("sqrt(error_count) > 1").endswith("; known functions are abs, coalesce, nullif, round")


def test_a_chained_comparison_is_rejected_because_it_would_compare_a_boolean_with_a_number():
    assert error_of("1 < error_count < 5") == "compares twice in a row at `<`; join comparisons with `and`"
    assert error_of("error_count > 1 is null")
    assert answer("1 < error_count and error_count < 5", error_count=9) is False


def test_a_comparison_with_null_is_rejected_but_is_null_is_allowed():
    assert error_of("error_count > null") == "a comparison with null is never true; write `is null`"
    assert answer("error_count is null", error_count=None) is True
    assert answer("error_count is not null", error_count=None) is False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "error_count >",
        "(error_count > 1",
        "error_count > 1)",
        "error_count > 1; drop table x",
        "error_count > 1 -- and so on",
        "error_count > 1 /* so */",
        '"error_count" > 1',
        "error_count == 1",
        "error_count::int > 1",
        "cast(error_count as int) > 1",
        "error_count > (select 1)",
        "error_count > '5'",
        "capability > 5",
        "error_count > 1, error_count > 2",
        "error_count > 1 limit 1",
        "error_count /",
        "error_count / ) > 1",
        "error_count > 1.75x",
        "error_count > 1,75",
        "case when error_count > 1 then true end",
        "coalesce() > 1",
        "abs(error_count, 1) > 1",
        "error_count > 1 ≥ 2",
        "(" * 200 + "error_count > 1" + ")" * 200,
        "error_count > 1 or " * 60 + "error_count > 2",
    ],
)
def test_syntax_outside_the_rule_language_is_rejected(text: str):
    assert error_of(text)


# Each word of the allow-list, in a condition that uses it.
ALLOWED = {
    "and": "error_count > 1 and success_count > 1",
    "or": "error_count > 1 or success_count > 1",
    "not": "not error_count > 1",
    "is": "error_count is not null",
    "null": "error_count is null",
    "between": "error_count between 1 and 5",
    "in": "capability not in ('chat', 'search')",
    "abs": "abs(error_count - abs(success_count)) > 1",
    "coalesce": "coalesce(nullif(error_count, 0), success_count, 1) > 1",
    "nullif": "nullif(error_count, success_count) > 1",
    "round": "round(error_count / success_count, 2) > 0.05",
}

# Valid SQL of some engine, by what it would do. `n` and `m` are columns.
REFUSED = {
    "subquery": ["n > (select 1)", "exists (select 1)", "n in (select m)", "n > all (m)", "n > any (m)"],
    "statement": ["select n > 1", "n > 1 union select 1", "with x as (select 1) select 2", "set n = 1", "from n"],
    "second statement": ["n > 1;", "n > 1; m > 2", "; n > 1", "n > 1; drop table x"],
    "window": ["n over () > 1", "abs(n) over () > 1", "row_number() > 1", "lag(n) > 1", "abs(n) within group (m) > 1"],
    "aggregate": ["sum(n) > 1", "count(*) > 1", "abs(distinct n) > 1", "abs(n) filter (where m > 1) > 1"],
    "cast": ["cast(n as int) > 1", "try_cast(n as int) > 1", "n::int > 1", "n > date '2026-01-01'", "n > N'x'"],
    "clock": ["now() > n", "current_date > n", "n > interval 5", "n > localtimestamp", "n at time zone 'x' > 1"],
    "case": ["case when n > 1 then true end", "if(n > 1, true, false)", "iff(n > 1, 1, 2) > 1", "n > 1 ? 1 : 2"],
    "comment": ["n > 1 -- m", "n > 1 # m", "n /* m */ > 1", "/*+ hint */ n > 1", "n > 1 /* m", "{# m #} n > 1"],
    "quoted name": ['"n" > 1', "`n` > 1", "[n] > 1", "n > 1 or \"n\" > 1"],
    "other name": ["t.n > 1", "n > :m", "n > ?", "n > @m", "n > $1", "* > 1", "{{n}} > 1", "n.m() > 1"],
    "pattern": ["capability like 'x%'", "capability ilike 'x'", "capability similar to 'x'", "capability glob 'x'"],
    "is": ["n is true", "n is unknown", "n is distinct from m", "n is not 1", "n isnull", "n notnull", "n <=> m"],
    "between": ["n between symmetric 1 and 2", "n between 1", "n between 1 and 2 and 3", "1 < n between 1 and 2"],
    "in": ["n in ()", "n in m", "n in [1, 2]", "n in (1, 'x')", "n in (1) in (2)"],
    "synonym": ["mod(n, m) > 1", "ifnull(n, 1) > 1", "nvl(n, 1) > 1", "!(n > 1)", "n == 1", "n div m > 1"],
    "operator": ["n ^ 2 > 1", "n ** 2 > 1", "~n > 1", "n & m > 1", "n || m > 1", "n > 1 xor m > 1", "n // m > 1"],
    "nested": ["abs(sum(n)) > 1", "round(abs(sqrt(n)), 2) > 1", "coalesce(n, now()) > 1", "abs(capability) > 1"],
    "arguments": ["abs() > 1", "abs(n, m) > 1", "round(n, m) > 1", "round(n, 1, 1) > 1", "nullif(n) > 1", "abs n > 1"],
    "chain": ["1 < n < 5", "n > 1 > 0", "n = m = 1", "n > 1 is null", "n > not m > 1", "n > 1 = m > 1"],
    "value": ["n[0] > 1", "n -> 1 > 1", "n:m > 1", "(n, m) > (1, 2)", "n > 0x1f", "n > 1_000", "n > 'x' 'y'", "x -> x"],
}  # fmt: skip


@pytest.mark.parametrize("text", ALLOWED.values())
def test_each_word_of_the_allow_list_may_be_used(text: str):
    assert compile_condition(text, GRID).columns


def test_the_table_of_allowed_words_is_the_allow_list():
    assert ALLOWED.keys() == {*KEYWORDS, *FUNCTIONS}


@pytest.mark.parametrize("text", [text for texts in REFUSED.values() for text in texts])
def test_sql_outside_the_allow_list_is_rejected(text: str):
    words = {"n": "error_count", "m": "success_count"}
    written = re.sub(r"\b[nm]\b", lambda name: words[name.group()], text)
    for form in (written, f"error_count > 1 and ({written})"):
        with pytest.raises(ExpressionError):
            compile_condition(form, GRID)


@pytest.mark.parametrize("text", ["error_count > 1e400", "error_count > 1000000000000000", "error_count < -1e300"])
def test_an_implausible_threshold_is_rejected(text: str):
    assert "exceeds the largest allowed number" in error_of(text)


def test_null_makes_the_result_null_unless_the_rest_decides():
    assert answer("error_count > 1", error_count=None) is None
    assert answer("error_count > 1 and success_count > 1", error_count=None, success_count=0) is False
    assert answer("error_count > 1 or success_count > 1", error_count=None, success_count=2) is True


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_in_the_facts_are_not_judged(odd: float):
    assert answer("interaction_count > mean_7d", DAYS, interaction_count=1, mean_7d=odd) is None
    assert answer("mean_7d > interaction_count", DAYS, interaction_count=1, mean_7d=odd) is None


def test_text_compares_with_text_in_single_quotes():
    assert answer("evaluation_status != 'ok'", DAYS, evaluation_status="ok") is False
    assert answer("capability in ('chat', 'it''s')", DAYS, capability="it's") is True
    assert answer("capability = 'and'", DAYS, capability="and") is True


def test_a_figure_is_a_number_or_a_constant():
    assert compile_figure("0.05", GRID).columns == ()
    assert compile_figure("error_count / success_count", GRID).columns == ("error_count", "success_count")
    for text in ("capability", "error_count > 1", "sum(error_count)", "error_count errors"):
        with pytest.raises(ExpressionError):
            compile_figure(text, GRID)


COLUMNS = st.sampled_from(["error_count", "success_count", "capability", "date", "percent"])
SIGNS = st.sampled_from(["(", ")", ",", "/", "%", "-", "+", "*", ">", "<=", "=", "--", '"'])
VALUES = st.sampled_from(["0", "0.05", "7", "1e9", "'x'", "null"])
KNOWN = st.sampled_from(["and", "or", "not", "is", "in", "between", "as", "over", "abs(", "coalesce(", "sum(", "now()"])
WORDS = COLUMNS | SIGNS | VALUES | KNOWN


@given(st.lists(WORDS, max_size=14).map(" ".join) | st.text(max_size=60))
def test_any_text_is_rejected_or_is_evaluated_row_by_row(text: str):
    try:
        expression = compile_condition(text, GRID).polars
    except ExpressionError:
        return
    rows = [
        {"error_count": errors, "success_count": successes, "capability": "chat"}
        for errors, successes in [(0, 0), (7, 0), (None, 3), (1, 20)]
    ]
    frames = [example_rows(TABLES[GRID], row) for row in rows]
    together = pl.concat(frames).select(expression).to_series()
    alone = [frame.select(expression).item() for frame in frames]
    assert together.dtype == pl.Boolean()
    assert together.to_list() == alone


NUMBERS = {"error_count": st.integers(0, 5), "success_count": st.integers(0, 5), "unknown_count": st.integers(0, 5)}
LEAVES = st.sampled_from([*NUMBERS, "0", "2", "7"])
SUMS = st.recursive(LEAVES, lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner), max_leaves=8)


Term: TypeAlias = "str | tuple[Term, str, Term]"


def written_out(term: Term) -> str:
    return f"({written_out(term[0])} {term[1]} {written_out(term[2])})" if isinstance(term, tuple) else term


def worked_out(term: Term, row: Mapping[str, int]) -> float | None:
    """Reference implementation: division by zero gives None, and None propagates."""
    if not isinstance(term, tuple):
        return float(row.get(term, term))
    left, right = worked_out(term[0], row), worked_out(term[2], row)
    if left is None or right is None or (term[1] == "/" and right == 0):
        return None
    return {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}[term[1]](right)


@given(SUMS, st.fixed_dictionaries(NUMBERS))
def test_arithmetic_matches_a_reference_implementation(term: Term, row: dict[str, int]):
    text = f"{written_out(term)} > error_count"
    by_hand = worked_out(term, row)
    assert answer(text, **row) == (None if by_hand is None else by_hand > row["error_count"])
