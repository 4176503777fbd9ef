"""Statements as the service runs them: what the translation to DuckDB misses, and what it need not look for."""

import re
from contextvars import ContextVar
from typing import Any

import sqlglot
from bqemulator.api.routes import jobs as routes
from bqemulator.domain.errors import InvalidQueryError
from bqemulator.jobs import executor
from bqemulator.scripting import interpreter
from bqemulator.sql import inner_query
from bqemulator.sql.rewriter import create_table_schema_ctas, default_dataset
from partitions import unbounded_reads
from sqlglot import exp


def mend() -> None:
    """Patch the translator, the scripts and what stands before both."""
    routes._apply_default_dataset = _noting_temp_tables(routes._apply_default_dataset)
    default_dataset._collect_cte_names = _with_temp_tables(default_dataset._collect_cte_names)
    create_table_schema_ctas._apply_schema_ctas_rewrite = _cast_to_declared
    interpreter.ScriptInterpreter.run = _ending_temp_tables(interpreter.ScriptInterpreter.run)
    inner_query.rewrite_for_row_access = _only_with_policies(inner_query.rewrite_for_row_access)
    bounded = _wanting_bounds(inner_query.rewrite_and_translate_statement)
    for module in (inner_query, executor, interpreter):
        module.rewrite_and_translate_statement = bounded


_TEMP_TABLE = re.compile(r"\btemp(?:orary)?\s+table\s+(?:if\s+not\s+exists\s+)?`?(\w+)", re.IGNORECASE)
_temp_tables: ContextVar[frozenset[str]] = ContextVar("temp_tables", default=frozenset())


def _noting_temp_tables(apply: Any) -> Any:
    def apply_noted(bq_sql: str, *rest: Any, **named: Any) -> str:
        _temp_tables.set(frozenset(_TEMP_TABLE.findall(bq_sql)))
        return apply(bq_sql, *rest, **named)

    return apply_noted


def _with_temp_tables(collect: Any) -> Any:
    """Names that the default dataset is not put before: a script's temporary tables have none."""
    return lambda root: collect(root) | _temp_tables.get()


def _cast_to_declared(create: exp.Create) -> bool:
    """`create table t (columns) as query` as a create whose query is cast to the columns by their places; true where
    it was one."""
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


def _ending_temp_tables(run: Any) -> Any:
    """`run`, after which the script's temporary tables are gone."""

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
    """`rewrite`, left out where no table has a policy: it would parse and inline every view."""

    def rewrite_where_needed(bq_sql: str, *, catalog: Any, **named: Any) -> str:
        return rewrite(bq_sql, catalog=catalog, **named) if catalog.list_all_row_access_policies() else bq_sql

    return rewrite_where_needed


def _wanting_bounds(translate: Any) -> Any:
    """`translate`, refusing a read without a bound on a table that requires one."""

    async def translate_bounded(bq_sql: str, *, project_id: str, ctx: Any, **named: Any) -> str:
        columns = _required(ctx, project_id)
        if any(name in bq_sql.lower() for name in columns):
            for statement in sqlglot.parse(bq_sql, read="bigquery"):
                for name in unbounded_reads(statement, columns) if statement is not None else ():
                    raise InvalidQueryError(
                        f"Cannot query over table '{name}' without a filter over column(s) '{columns[name.lower()]}' "
                        "that can be used for partition elimination"
                    )
        return await translate(bq_sql, project_id=project_id, ctx=ctx, **named)

    return translate_bounded


def _required(ctx: Any, project_id: str) -> dict[str, str]:
    """The tables that require a bound, and the views over them, with their partition columns."""
    columns: dict[str, str] = {}
    views: dict[str, str] = {}
    for dataset in ctx.catalog.list_datasets(project_id):
        for table in ctx.catalog.list_tables(project_id, dataset.dataset_id):
            partitioning = table.time_partitioning
            if partitioning is not None and partitioning.require_partition_filter and partitioning.field:
                columns[table.table_id.lower()] = partitioning.field.lower()
            elif table.view_query:
                views[table.table_id.lower()] = table.view_query.lower()
    for view, query in views.items():
        for name in list(columns):
            if re.search(rf"\b{name}\b", query):
                columns[view] = columns[name]
    return columns
