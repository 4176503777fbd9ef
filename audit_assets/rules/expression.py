"""The rule language: SQL over the columns of one row, checked word by word before polars reads it.

polars alone lets too much through: `0/0 > 0.05` is true, `sum(n) > 1` looks at all rows, `n > 5 percent` is
an alias, `1 < n < 5` is always true. So only the words below are known, and what divides by zero is null.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from audit_assets.rules.facts import TABLES
from audit_assets.rules.spelling import did_you_mean

LONGEST = 500  # characters; a condition someone reads at night is far shorter
LARGEST = 1e12  # no threshold on counts, shares or minutes is larger

FUNCTIONS = ("abs", "coalesce", "nullif", "round")
KEYWORDS = frozenset({"and", "or", "not", "is", "null", "between", "in"})
COMPARISONS = frozenset({"=", "<>", "!=", "<", "<=", ">", ">=", "between", "in", "is"})

# Known only so that the refusal can say what is wrong with them.
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
    """An expression that is refused. The message says why and the mend; the caller knows file and line."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str

    @property
    def lower(self) -> str:
        return self.text.lower() if self.kind in {"word", "mark"} else self.text


@dataclass(frozen=True, slots=True)
class Expression:
    """What a rule may compute of one row, with the columns it needs."""

    text: str
    polars: pl.Expr
    columns: tuple[str, ...]


@lru_cache(maxsize=1024)
def condition(text: str, watch: str) -> Expression:
    """A yes or no of one row of the table `watch`; null where it cannot be judged. Raises ExpressionError."""
    return _compiled(text, watch, "condition")


@lru_cache(maxsize=1024)
def figure(text: str, watch: str) -> Expression:
    """A number of one row of the table `watch`, or a constant. Raises ExpressionError."""
    return _compiled(text, watch, "figure")


def _compiled(text: str, watch: str, kind: Literal["condition", "figure"]) -> Expression:
    if len(text) > LONGEST:
        raise ExpressionError(f"{len(text)} characters; keep it under {LONGEST}, or let a column hold the figure")
    tokens = _tokens(text)
    columns = _columns(tokens, watch)
    _refuse_chains(tokens)
    if kind == "condition" and not columns:
        raise ExpressionError(f"names no column of {watch}, so it says the same for every row")
    try:
        expression = pl.sql_expr(" ".join(_guarded(tokens)))
        if not expression.meta.undo_aliases().meta.eq(expression):
            raise ExpressionError("gives a name to its result (an alias); only the condition belongs here")
        result = TABLES[watch].empty().select(expression).to_series()
    except PolarsError as error:
        raise ExpressionError(f"cannot be read: {_first_line(error)}") from None
    if kind == "condition" and result.dtype != pl.Boolean():
        raise ExpressionError("is no yes or no; compare with something, as in `interaction_count > 100`")
    if kind == "figure" and not result.dtype.is_numeric():
        raise ExpressionError("is no number")
    if columns and len(result) > 0:
        raise ExpressionError("looks at many rows; a condition sees one row")
    return Expression(text, expression, columns)


def _tokens(text: str) -> tuple[Token, ...]:
    found = [Token(match.lastgroup or "", match.group()) for match in _TOKEN.finditer(text)]
    tokens = tuple(token for token in found if token.kind != "space")
    if not tokens:
        raise ExpressionError("is empty")
    for token in tokens:
        if token.kind == "comment":
            raise ExpressionError("holds a comment; put it on a line of its own, after #")
        if token.text in {'"', "`"}:
            raise ExpressionError(f"holds {token.text}; columns stand bare, text in single quotes")
        if token.kind == "other":
            raise ExpressionError(f"holds `{token.text}`, which is not part of the rule language")
        if token.kind == "number" and not math.fabs(float(token.text)) <= LARGEST:
            raise ExpressionError(f"{token.text} is beyond any figure a rule judges ({LARGEST:.0e})")
    return tokens


def _columns(tokens: Sequence[Token], watch: str) -> tuple[str, ...]:
    """The columns named, each once. Raises ExpressionError on any word that is not known."""
    table = TABLES[watch]
    columns: dict[str, None] = {}
    for place, token in enumerate(tokens):
        if token.kind != "word":
            continue
        following = tokens[place + 1].text if place + 1 < len(tokens) else ""
        if token.lower in KEYWORDS:
            _refuse_bare_null(tokens, place)
        elif following == "(":
            _refuse_function(token)
        elif token.text in table.conditions_may_name:
            columns[token.text] = None
        elif token.text in table.schema or token.lower in _CLOCK:
            raise ExpressionError(
                f"{token.text} is a time, and conditions do no arithmetic on times; let a column hold the minutes"
            )
        elif token.lower == "as":
            raise ExpressionError("gives a name to its result (an alias); only the condition belongs here")
        elif token.lower in {"percent", "pct"}:
            raise ExpressionError(f"{token.text} is not part of the rule language; write 0.05 for 5 %")
        elif token.lower in _MANY_ROWS:
            raise ExpressionError(f"{token.text} looks at many rows; a condition sees one row")
        else:
            hint = did_you_mean(token.text, table.conditions_may_name)
            raise ExpressionError(f"{token.text}: unknown column of {watch}{hint}")
    return tuple(columns)


def _refuse_function(token: Token) -> None:
    if token.lower in FUNCTIONS:
        return
    if token.lower in _CLOCK:
        raise ExpressionError(f"{token.text} reads a clock or a time; let a column hold the minutes")
    if token.lower in _MANY_ROWS:
        raise ExpressionError(f"{token.text} looks at many rows; a condition sees one row")
    hint = did_you_mean(token.lower, FUNCTIONS) or f"; known are {', '.join(FUNCTIONS)}"
    raise ExpressionError(f"{token.text}: unknown function{hint}")


def _refuse_bare_null(tokens: Sequence[Token], place: int) -> None:
    if tokens[place].lower == "null" and (place == 0 or tokens[place - 1].lower not in {"is", "not"}):
        raise ExpressionError("null compares with nothing; write `is null`")


def _refuse_chains(tokens: Sequence[Token]) -> None:
    """`1 < n < 5` compares a yes with 5. One comparison between `and`, `or` and commas, at each depth."""
    compared = [False]
    for place, token in enumerate(tokens):
        if token.text == "(":
            compared.append(False)
        elif token.text == ")":
            if len(compared) == 1:
                raise ExpressionError("closes a bracket that was not opened")
            compared.pop()
        elif token.lower in {"and", "or", ","}:
            compared[-1] = False
        elif token.lower in COMPARISONS and token.kind in {"word", "mark"}:
            if compared[-1]:
                raise ExpressionError(f"compares twice in a row at `{token.text}`; join comparisons with `and`")
            compared[-1] = True
        elif token.text == "%" and (place + 1 == len(tokens) or tokens[place + 1].lower in {")", "and", "or"}):
            raise ExpressionError("% is a remainder here; write 0.05 for 5 %")
    if len(compared) > 1:
        raise ExpressionError("leaves a bracket open")


def _guarded(tokens: Sequence[Token]) -> list[str]:
    """The same expression, but dividing by zero gives null (not judged), not NaN, which exceeds all."""
    text: list[str] = []
    place = 0
    while place < len(tokens):
        text.append(tokens[place].text)
        place += 1
        if tokens[place - 1].text in {"/", "%"}:
            end = _end_of_operand(tokens, place)
            text += ["nullif(", *_guarded(tokens[place:end]), ", 0)"]
            place = end
    return text


def _end_of_operand(tokens: Sequence[Token], start: int) -> int:
    """Where the operand that begins at `start` ends: a signed number, column, call or brackets."""
    place = start
    while place < len(tokens) and tokens[place].text in {"+", "-"}:
        place += 1
    if place == len(tokens) or (tokens[place].kind == "mark" and tokens[place].text != "("):
        raise ExpressionError(f"divides by nothing after `{tokens[start - 1].text}`")
    place += 1
    if tokens[place - 1].text != "(" and (place == len(tokens) or tokens[place].text != "("):
        return place
    depth = 1 if tokens[place - 1].text == "(" else 0
    while True:
        depth += {"(": 1, ")": -1}.get(tokens[place].text, 0)
        place += 1
        if depth == 0:
            return place


def _first_line(error: PolarsError) -> str:
    return str(error).strip().splitlines()[0]
