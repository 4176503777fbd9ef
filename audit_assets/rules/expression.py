"""The rule language: SQL over the columns of one row, checked token by token before polars parses it.

polars alone accepts too much: `0/0 > 0.05` is true, `sum(n) > 1` reads all rows, `n > 5 percent` is an alias,
`1 < n < 5` is always true. So only the words below are allowed, and division by zero gives null.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from audit_assets.config.validation import did_you_mean
from audit_assets.rules.facts import TABLES

LONGEST = 500  # characters; a readable condition is far shorter
LARGEST = 1e12  # no threshold on counts, shares or minutes is larger

FUNCTIONS = ("abs", "coalesce", "nullif", "round")
KEYWORDS = frozenset({"and", "or", "not", "is", "null", "between", "in"})
COMPARISONS = frozenset({"=", "<>", "!=", "<", "<=", ">", ">=", "between", "in", "is"})

# Listed only to give a specific error message.
_CLOCK = frozenset(
    {"now", "today", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
    | {"interval", "date_part", "date_trunc", "extract", "strftime", "strptime"}
)
_MANY_ROWS = frozenset(
    {"sum", "avg", "mean", "count", "min", "max", "median", "mode", "first", "last", "any_value"}
    | {"std", "stddev", "var", "variance", "corr", "covar", "array_agg", "string_agg"}
    | {"quantile", "quantile_cont", "quantile_disc", "percentile_cont", "percentile_disc"}
    | {"lag", "lead", "rank", "dense_rank", "row_number", "first_value", "last_value", "over", "partition"}
)

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.]))
      | (?P<text>'(?:[^']|'')*')
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<comment>--|/\*|\#)
      | (?P<mark><=|>=|<>|!=|[=<>+\-*/%(),])
      | (?P<other>\S)""",
    re.VERBOSE,
)


class ExpressionError(ValueError):
    """An expression is rejected. The message gives the reason and the fix; the caller adds file and line."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str

    @property
    def lower(self) -> str:
        return self.text.lower() if self.kind in {"word", "mark"} else self.text


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression over one row, with the columns it needs."""

    text: str
    polars: pl.Expr
    columns: tuple[str, ...]


@lru_cache(maxsize=1024)
def compile_condition(text: str, watch: str) -> Expression:
    """Compiles a boolean expression over one row of the table `watch`; its value is null if it cannot be judged.
    Raises ExpressionError."""
    return _compiled(text, watch, "condition")


@lru_cache(maxsize=1024)
def compile_figure(text: str, watch: str) -> Expression:
    """Compiles a numeric expression over one row of the table `watch`, or a constant. Raises ExpressionError."""
    return _compiled(text, watch, "figure")


def _compiled(text: str, watch: str, kind: Literal["condition", "figure"]) -> Expression:
    if len(text) > LONGEST:
        raise ExpressionError(f"has {len(text)} characters; the limit is {LONGEST}: compute the figure in a column")
    tokens = _tokens(text)
    columns = _columns(tokens, watch)
    _reject_chained_comparisons(tokens)
    if kind == "condition" and not columns:
        raise ExpressionError(f"names no column of {watch}, so it is the same for every row; compare a column")
    try:
        expression = pl.sql_expr(" ".join(_guarded(tokens)))
        if not expression.meta.undo_aliases().meta.eq(expression):
            raise ExpressionError("gives a name to its result (an alias); only the condition belongs here")
        result = TABLES[watch].empty().select(expression).to_series()
    except PolarsError as error:
        raise ExpressionError(f"cannot be read: {_first_line(error)}") from None
    if kind == "condition" and result.dtype != pl.Boolean():
        raise ExpressionError("is not true or false; add a comparison, as in `interaction_count > 100`")
    if kind == "figure" and not result.dtype.is_numeric():
        raise ExpressionError("is not a number; name a numeric column")
    if columns and len(result) > 0:
        raise ExpressionError("reads several rows; a condition sees one row")
    return Expression(text, expression, columns)


def _tokens(text: str) -> tuple[Token, ...]:
    found = [Token(match.lastgroup or "", match.group()) for match in _TOKEN.finditer(text)]
    tokens = tuple(token for token in found if token.kind != "space")
    if not tokens:
        raise ExpressionError("is empty")
    for token in tokens:
        if token.kind == "comment":
            raise ExpressionError("contains a comment; put it on a line of its own, after #")
        if token.text in {'"', "`"}:
            raise ExpressionError(f"contains {token.text}; write columns without quotes and text in single quotes")
        if token.kind == "other":
            raise ExpressionError(f"contains `{token.text}`, which is not part of the rule language")
        if token.kind == "number" and not math.fabs(float(token.text)) <= LARGEST:
            raise ExpressionError(f"{token.text} exceeds the largest allowed number ({LARGEST:.0e})")
    return tokens


def _columns(tokens: Sequence[Token], watch: str) -> tuple[str, ...]:
    """The columns named, each once. Raises ExpressionError on an unknown word."""
    table = TABLES[watch]
    columns: dict[str, None] = {}
    for position, token in enumerate(tokens):
        if token.kind != "word":
            continue
        following = tokens[position + 1].text if position + 1 < len(tokens) else ""
        if token.lower in KEYWORDS:
            _reject_bare_null(tokens, position)
        elif following == "(":
            _reject_unknown_function(token)
        elif token.text in table.conditions_may_name:
            columns[token.text] = None
        elif token.text in table.schema or token.lower in _CLOCK:
            raise ExpressionError(
                f"{token.text} is a time, and conditions do no arithmetic on times; compute the minutes in a column"
            )
        elif token.lower == "as":
            raise ExpressionError("gives a name to its result (an alias); only the condition belongs here")
        elif token.lower in {"percent", "pct"}:
            raise ExpressionError(f"{token.text} is not part of the rule language; write 0.05 for 5 %")
        elif token.lower in _MANY_ROWS:
            raise ExpressionError(f"{token.text} reads several rows; a condition sees one row")
        else:
            hint = did_you_mean(token.text, table.conditions_may_name)
            raise ExpressionError(f"{token.text}: unknown column of {watch}{hint}")
    return tuple(columns)


def _reject_unknown_function(token: Token) -> None:
    if token.lower in FUNCTIONS:
        return
    if token.lower in _CLOCK:
        raise ExpressionError(f"{token.text} reads a clock or a time; compute the minutes in a column")
    if token.lower in _MANY_ROWS:
        raise ExpressionError(f"{token.text} reads several rows; a condition sees one row")
    hint = did_you_mean(token.lower, FUNCTIONS) or f"; known functions are {', '.join(FUNCTIONS)}"
    raise ExpressionError(f"{token.text}: unknown function{hint}")


def _reject_bare_null(tokens: Sequence[Token], position: int) -> None:
    if tokens[position].lower == "null" and (position == 0 or tokens[position - 1].lower not in {"is", "not"}):
        raise ExpressionError("a comparison with null is never true; write `is null`")


def _reject_chained_comparisons(tokens: Sequence[Token]) -> None:
    """`1 < n < 5` compares a boolean with 5. Allows one comparison between `and`, `or` and commas, at each depth."""
    compared = [False]
    for position, token in enumerate(tokens):
        if token.text == "(":
            compared.append(False)
        elif token.text == ")":
            if len(compared) == 1:
                raise ExpressionError("has a closing bracket without an opening one")
            compared.pop()
        elif token.lower in {"and", "or", ","}:
            compared[-1] = False
        elif token.lower in COMPARISONS and token.kind in {"word", "mark"}:
            if compared[-1]:
                raise ExpressionError(f"compares twice in a row at `{token.text}`; join comparisons with `and`")
            compared[-1] = True
        elif token.text == "%" and (position + 1 == len(tokens) or tokens[position + 1].lower in {")", "and", "or"}):
            raise ExpressionError("% is the remainder operator; write 0.05 for 5 %")
    if len(compared) > 1:
        raise ExpressionError("has an opening bracket without a closing one")


def _guarded(tokens: Sequence[Token]) -> list[str]:
    """The same expression, but division by zero gives null (not judged) instead of NaN, which exceeds any number."""
    text: list[str] = []
    position = 0
    while position < len(tokens):
        text.append(tokens[position].text)
        position += 1
        if tokens[position - 1].text in {"/", "%"}:
            end = _end_of_operand(tokens, position)
            text += ["nullif(", *_guarded(tokens[position:end]), ", 0)"]
            position = end
    return text


def _end_of_operand(tokens: Sequence[Token], start: int) -> int:
    """The end of the operand that begins at `start`: a signed number, a column, a call or an expression in brackets."""
    position = start
    while position < len(tokens) and tokens[position].text in {"+", "-"}:
        position += 1
    if position == len(tokens) or (tokens[position].kind == "mark" and tokens[position].text != "("):
        raise ExpressionError(f"has no divisor after `{tokens[start - 1].text}`")
    position += 1
    if tokens[position - 1].text != "(" and (position == len(tokens) or tokens[position].text != "("):
        return position
    depth = 1 if tokens[position - 1].text == "(" else 0
    while True:
        depth += {"(": 1, ")": -1}.get(tokens[position].text, 0)
        position += 1
        if depth == 0:
            return position


def _first_line(error: PolarsError) -> str:
    return str(error).strip().splitlines()[0]
