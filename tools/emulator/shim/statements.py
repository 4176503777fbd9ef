"""Statements as in the service: fixes of the translation to DuckDB, and skipped rewrites."""

import re
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import sqlglot
from bqemulator.api.routes import jobs as routes
from bqemulator.domain.errors import InvalidQueryError
from bqemulator.jobs import executor
from bqemulator.scripting import interpreter
from bqemulator.sql import inner_query, translator
from bqemulator.sql.rewriter import aggregate_variants, create_table_schema_ctas, default_dataset
from partitions import unbounded_reads
from sqlglot import exp
from sqlglot.errors import ParseError


def fix() -> None:
    """Patches the translator, the scripts and the steps before both."""
    sqlglot.parse_one, sqlglot.parse = _cached(sqlglot.parse_one), _cached(sqlglot.parse)
    routes._apply_default_dataset = _noting_temp_tables(routes._apply_default_dataset)
    default_dataset._collect_cte_names = _with_temp_tables(default_dataset._collect_cte_names)
    for name, wanted in _PATTERNS.items():
        setattr(translator, name, _only_where(wanted, getattr(translator, name)))
    create_table_schema_ctas._apply_schema_ctas_rewrite = _cast_to_declared
    interpreter.ScriptInterpreter._exec_set = _accepting_structs(interpreter.ScriptInterpreter._exec_set)
    interpreter.ScriptInterpreter.run = _ending_temp_tables(interpreter.ScriptInterpreter.run)
    aggregate_variants._filter_target = _aggregated
    inner_query.build_catalog_schema = lambda *_, **__: {}
    inner_query.rewrite_for_row_access = _only_with_policies(inner_query.rewrite_for_row_access)
    bounded = _requiring_bounds(inner_query.rewrite_and_translate_statement)
    for module in (inner_query, executor, interpreter):
        module.rewrite_and_translate_statement = bounded


# The SQL that these rewrites are for. Without this check they parse every statement with an `unnest` or an interval.
_PATTERNS = {
    "rewrite_unnest_struct": r"\bstruct\s*[(<]",
    "rewrite_specialized_types": r"\binterval\s+'[^']*'\s+\w+\s+to\b|\brange\s*[(<]",
}


def _only_where(wanted: str, rewrite: Any) -> Any:
    return lambda bq_sql: rewrite(bq_sql) if re.search(wanted, bq_sql, re.IGNORECASE) else bq_sql


def _cached(parse: Any) -> Any:
    """`parse`, which returns a copy of the cached result for the same text.

    About fifty places in the emulator parse a statement again. For 20 kB a parse takes 0.3 s, a copy 0.03 s.
    """

    @lru_cache(maxsize=64)
    def parsed(sql: str, read: str | None) -> Any:
        return parse(sql, read=read)

    def parse_once(sql: str, read: Any = None, dialect: Any = None, **options: Any) -> Any:
        if options or dialect is not None or not isinstance(read, str):
            return parse(sql, read=read, dialect=dialect, **options)
        found = parsed(sql, read)
        return [one and one.copy() for one in found] if isinstance(found, list) else found.copy()

    return parse_once


_TEMP_TABLE = re.compile(r"\btemp(?:orary)?\s+table\s+(?:if\s+not\s+exists\s+)?`?(\w+)", re.IGNORECASE)
_temp_tables: ContextVar[frozenset[str]] = ContextVar("temp_tables", default=frozenset())


def _noting_temp_tables(apply: Any) -> Any:
    def apply_noted(bq_sql: str, *rest: Any, **named: Any) -> str:
        _temp_tables.set(frozenset(_TEMP_TABLE.findall(bq_sql)))
        return apply(bq_sql, *rest, **named)

    return apply_noted


def _with_temp_tables(collect: Any) -> Any:
    """Names without the default dataset: a script's temporary tables have no dataset."""
    return lambda root: collect(root) | _temp_tables.get()


def _cast_to_declared(create: exp.Create) -> bool:
    """Rewrites `create table t (columns) as query` so that the query is cast to the columns by position. Returns
    whether it was such a statement."""
    schema, query = create.this, create.expression
    if str(create.args.get("kind")).upper() != "TABLE" or not isinstance(schema, exp.Schema) or query is None:
        return False
    columns = [column for column in schema.expressions if isinstance(column, exp.ColumnDef)]
    query = query.copy().unnest()
    first = query
    while isinstance(first, exp.SetOperation):
        first = first.left.unnest()
    if not isinstance(first, exp.Select) or len(first.expressions) != len(columns):
        return False
    first.set("expressions", [exp.alias_(one.unalias(), columns[n].name) for n, one in enumerate(first.expressions)])
    casts = [exp.alias_(exp.cast(exp.column(column.name), column.kind.copy()), column.name) for column in columns]
    create.set("this", schema.this.copy())
    create.set("expression", exp.select(*casts).from_(exp.Subquery(this=query, alias=exp.to_identifier("declared"))))
    return True


def _aggregated(operand: exp.Expression) -> exp.Expression:
    """The expression that `array_agg(distinct … ignore nulls order by …)` aggregates, to filter its nulls."""
    while isinstance(operand, exp.Order | exp.Distinct):
        operand = operand.expressions[0] if isinstance(operand, exp.Distinct) else operand.this
    return operand


def _accepting_structs(set_variables: Any) -> Any:
    """`set (a, b) = (select as struct …)`, field by field, also for a single field."""

    async def set_fields(self: Any, statement: Any) -> None:
        if re.match(r"\(\s*select\s+as\s+struct\b", statement.source_expr, re.IGNORECASE) is None:
            await set_variables(self, statement)
            return
        fields = await self._eval_expr_scalar(statement.source_expr)
        for name, value in zip(statement.targets, fields.values(), strict=True):
            self._frames.set(name, value)

    return set_fields


def _ending_temp_tables(run: Any) -> Any:
    """`run`, after which the script's temporary tables are dropped."""

    async def run_and_end(self: Any, source: str) -> Any:
        try:
            return await run(self, source)
        finally:
            if _TEMP_TABLE.search(source):
                engine = self._ctx.engine
                found = engine.execute("select table_name from duckdb_tables() where temporary").fetchall()
                for (name,) in found:
                    engine.execute(f'drop table if exists temp."{name}"')

    return run_and_end


def _only_with_policies(rewrite: Any) -> Any:
    """`rewrite`, skipped if no table has a policy: it would parse and inline every view."""

    def rewrite_where_needed(bq_sql: str, *, catalog: Any, **named: Any) -> str:
        return rewrite(bq_sql, catalog=catalog, **named) if catalog.list_all_row_access_policies() else bq_sql

    return rewrite_where_needed


def _requiring_bounds(translate: Any) -> Any:
    """`translate`, which refuses a read without a bound on a table that requires one."""

    async def translate_bounded(bq_sql: str, *, project_id: str, ctx: Any, **named: Any) -> str:
        columns = _required(ctx, project_id)
        if any(name.split(".")[1] in bq_sql.lower() for name in columns):
            for statement in sqlglot.parse(bq_sql, read="bigquery"):
                for name in unbounded_reads(statement, columns) if statement is not None else ():
                    raise InvalidQueryError(
                        f"Cannot query over table '{name}' without a filter over column(s) '{columns[name]}' "
                        "that can be used for partition elimination"
                    )
        return await translate(_rewrite_expressions(bq_sql), project_id=project_id, ctx=ctx, **named)

    return translate_bounded


def _rewrite_expressions(bq_sql: str) -> str:
    """The statement with expressions that would be translated wrongly rewritten in a form that is translated right."""
    if not re.search(r"\b(div|unix_seconds|json_query_array|json_extract_array|safe_\w+)\s*\(", bq_sql, re.IGNORECASE):
        return bq_sql
    try:
        statement = sqlglot.parse_one(bq_sql, read="bigquery")
    except ParseError:
        return bq_sql  # the emulator reports the error
    for division in list(statement.find_all(exp.IntDiv)):
        for side in ("this", "expression"):
            if isinstance(division.args[side], exp.Binary):
                division.set(side, exp.paren(division.args[side]))
    for bracket in list(statement.find_all(exp.Bracket)):
        if bracket.args.get("safe") and not isinstance(bracket.expressions[0], exp.Literal):
            before_all = exp.Literal.number(bracket.args["offset"] - 1)
            bracket.set("expressions", [exp.Greatest(this=bracket.expressions[0], expressions=[before_all])])
    for seconds in list(statement.find_all(exp.UnixSeconds)):
        seconds.replace(exp.cast(exp.Floor(this=exp.UnixMicros(this=seconds.this.copy()) / 1_000_000), "int64"))
    for cast in list(statement.find_all(exp.TryCast)):
        if cast.is_type(*exp.DataType.NUMERIC_TYPES) and not isinstance(cast.this, exp.Literal):
            spaced = exp.func("strpos", exp.cast(cast.this.copy(), "string"), exp.Literal.string("_")) > 0
            cast.replace(exp.Case(ifs=[exp.If(this=exp.not_(spaced), true=cast.copy())]))
    for listed in list(statement.find_all(exp.JSONExtractArray)):
        kind = exp.func("json_type", exp.JSONExtract(this=listed.this.copy(), expression=listed.expression.copy()))
        listed.replace(exp.Case(ifs=[exp.If(this=kind.eq("array"), true=listed.copy())]))
    return statement.sql(dialect="bigquery")


def _required(ctx: Any, project_id: str) -> dict[str, str]:
    """The tables that require a bound, and the views over them: `dataset.table` → partition column."""
    columns: dict[str, str] = {}
    views: dict[str, str] = {}
    for dataset in ctx.catalog.list_datasets(project_id):
        for table in ctx.catalog.list_tables(project_id, dataset.dataset_id):
            name = f"{dataset.dataset_id}.{table.table_id}".lower()
            partitioning = table.time_partitioning
            if partitioning is not None and partitioning.require_partition_filter and partitioning.field:
                columns[name] = partitioning.field.lower()
            elif table.view_query:
                views[name] = table.view_query.lower().replace("`", "").replace('"', "")
    for view, query in views.items():
        for name in list(columns):
            if re.search(rf"\b{re.escape(name)}\b", query):
                columns[view] = columns[name]
    return columns
