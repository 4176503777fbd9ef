"""Finds the partitioned tables that a BigQuery statement reads without a bound on their partition column.

BigQuery refuses such a statement if a table has `require_partition_filter`. This check is stricter than BigQuery: the
bound must be in the query that reads the table or in an enclosing one, not across a CTE, and compare the bare column
with a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

_COMPARISONS = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def unbounded_reads(statement: exp.Expr, columns: Mapping[str, str]) -> list[str]:
    """The tables of `columns` that `statement` reads or changes without a bound, in reading order.

    `columns` gives the partition column of tables, and of views over them, by `dataset.table` or `table` in lower case.
    A view's own definition reads nothing.
    """
    if isinstance(statement, exp.Create) and str(statement.args.get("kind")).upper() == "VIEW":
        return []
    written = {id(table) for table in _written_only(statement)}
    read = [table for table in statement.find_all(exp.Table) if id(table) not in written]
    named = [(table, name) for table in read for name in (table.name.lower(), f"{table.db}.{table.name}".lower())]
    return [name for table, name in named if name in columns and not _is_bounded(table, columns[name])]


def _written_only(statement: exp.Expr) -> Iterator[exp.Table]:
    """Tables that are only created, dropped or inserted into, and not read."""
    for node in statement.find_all(exp.Create, exp.Drop, exp.Insert, exp.Alter, exp.TruncateTable):
        target = node.this.this if isinstance(node.this, exp.Schema) else node.this
        targets = node.expressions if isinstance(node, exp.TruncateTable) else [target]
        yield from (table for table in targets if isinstance(table, exp.Table))


def _is_bounded(table: exp.Table, column: str) -> bool:
    """Whether the query that reads the table has a bound, or an enclosing query that reads only that query."""
    name = table.alias_or_name
    node: exp.Expr = table
    while (query := node.find_ancestor(exp.Select, exp.Delete, exp.Update, exp.Merge)) is not None:
        if any(_is_bound(condition, name, column) for condition in _conditions(query)):
            return True
        around = query.parent
        if not isinstance(query, exp.Select) or not isinstance(around, exp.Subquery):
            return False
        if not isinstance(around.parent, exp.From | exp.Join):
            return False
        node, name = around, around.alias_or_name
    return False


def _conditions(query: exp.Expr) -> Iterator[exp.Expr]:
    """The conditions that every row of the query must meet."""
    clauses = [query.args.get("where"), query.args.get("on")]
    clauses += [join.args.get("on") for join in query.args.get("joins") or [] if not join.side]
    for clause in clauses:
        if clause is not None:
            condition = clause.this if isinstance(clause, exp.Where) else clause
            yield from condition.flatten() if isinstance(condition, exp.And) else [condition]


def _is_bound(condition: exp.Expr, name: str, column: str) -> bool:
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return any(_is_bound(part, name, column) for part in condition.flatten())
    if isinstance(condition, exp.Or):
        return all(_is_bound(part, name, column) for part in condition.flatten())
    if isinstance(condition, _COMPARISONS):
        sides = (condition.left, condition.right)
        return any(_is_column(one, name, column) and _is_constant(other) for one, other in (sides, sides[::-1]))
    if isinstance(condition, exp.Between):
        bounds = (condition.args["low"], condition.args["high"])
        return _is_column(condition.this, name, column) and all(map(_is_constant, bounds))
    if isinstance(condition, exp.In):
        values = condition.expressions
        return _is_column(condition.this, name, column) and bool(values) and all(map(_is_constant, values))
    return False


def _is_column(node: exp.Expr, name: str, column: str) -> bool:
    return isinstance(node, exp.Column) and node.name.lower() == column and node.table.lower() in ("", name.lower())


def _is_constant(node: exp.Expr) -> bool:
    return node.find(exp.Column, exp.Query, exp.Null) is None
