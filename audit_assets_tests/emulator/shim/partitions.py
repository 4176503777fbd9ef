"""Which partitioned tables a statement of BigQuery reads without a bound on their partition column.

BigQuery refuses such a statement where a table says `require_partition_filter`. This is stricter than BigQuery: a bound
must stand where the table is read or around it, not across a CTE, and compare the bare column with what is constant.
"""

from collections.abc import Iterator, Mapping

from sqlglot import exp

_COMPARISONS = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def unbounded_reads(statement: exp.Expression, columns: Mapping[str, str]) -> list[str]:
    """The tables of `columns` that are read or changed in `statement` without a bound, in the order of their reading.

    `columns` gives the partition column of tables, and of views over them, by `dataset.table` or `table` in lower case.
    A view's own definition reads nothing.
    """
    if isinstance(statement, exp.Create) and str(statement.args.get("kind")).upper() == "VIEW":
        return []
    written = {id(table) for table in _written_only(statement)}
    read = [table for table in statement.find_all(exp.Table) if id(table) not in written]
    named = [(table, name) for table in read for name in (table.name.lower(), f"{table.db}.{table.name}".lower())]
    return [name for table, name in named if name in columns and not _is_bounded(table, columns[name])]


def _written_only(statement: exp.Expression) -> Iterator[exp.Table]:
    """Tables that are named to be made, dropped or inserted into: nothing of theirs is read."""
    for node in statement.find_all(exp.Create, exp.Drop, exp.Insert, exp.Alter, exp.TruncateTable):
        target = node.this.this if isinstance(node.this, exp.Schema) else node.this
        targets = node.expressions if isinstance(node, exp.TruncateTable) else [target]
        yield from (table for table in targets if isinstance(table, exp.Table))


def _is_bounded(table: exp.Table, column: str) -> bool:
    """Whether a bound stands in the query that reads the table, or in one that reads nothing but that query."""
    name = table.alias_or_name
    node: exp.Expression = table
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


def _conditions(query: exp.Expression) -> Iterator[exp.Expression]:
    """What must hold of every row the query takes."""
    clauses = [query.args.get("where"), query.args.get("on")]
    clauses += [join.args.get("on") for join in query.args.get("joins") or [] if not join.side]
    for clause in clauses:
        if clause is not None:
            condition = clause.this if isinstance(clause, exp.Where) else clause
            yield from condition.flatten() if isinstance(condition, exp.And) else [condition]


def _is_bound(condition: exp.Expression, name: str, column: str) -> bool:
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


def _is_column(node: exp.Expression, name: str, column: str) -> bool:
    return isinstance(node, exp.Column) and node.name.lower() == column and node.table.lower() in ("", name.lower())


def _is_constant(node: exp.Expression) -> bool:
    return node.find(exp.Column, exp.Query, exp.Null) is None
