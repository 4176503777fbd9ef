"""Table metadata as in the service: partitioning by the day of a timestamp, and the required filter."""

from typing import Any

from bqemulator.api.routes import tables
from bqemulator.catalog import ddl_sync
from sqlglot import exp

_partition_field = ddl_sync._ddl_partition_field
_meta_of_request = tables._rest_to_table_meta
_answer = tables._table_to_rest


def fix() -> None:
    """Patches the reading of `create table` statements and REST requests, and the REST responses."""
    ddl_sync._ddl_partition_field = _field_in_function
    tables._rest_to_table_meta = _meta_with_filter
    tables._table_to_rest = _answer_with_filter


def _field_in_function(properties: exp.Properties) -> str | None:
    for partitioned in properties.find_all(exp.PartitionedByProperty):
        if isinstance(partitioned.this, exp.Date | exp.TsOrDsToDate | exp.TimestampTrunc | exp.DateTrunc):
            column = partitioned.this.find(exp.Column, exp.Identifier)
            return column.name if column is not None else None
    return _partition_field(properties)


def _meta_with_filter(project_id: str, dataset_id: str, body: dict[str, Any], *rest: Any, **named: Any) -> Any:
    required, partitioning = body.get("requirePartitionFilter"), body.get("timePartitioning")
    if required is not None and partitioning:
        body = {**body, "timePartitioning": {**partitioning, "requirePartitionFilter": required}}
    return _meta_of_request(project_id, dataset_id, body, *rest, **named)


def _answer_with_filter(table: Any) -> dict[str, Any]:
    answer = _answer(table)
    if table.time_partitioning is not None:
        answer["requirePartitionFilter"] = table.time_partitioning.require_partition_filter
    return answer
