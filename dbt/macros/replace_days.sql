{#- How a build replaces days: it deletes the named days and every day it produced, then inserts. So a day that lost its
    last row is empty afterwards, and building a day twice gives the same table.
    A dense table (`meta: {dense: true}`) is deleted from the first named day on: if a capability's only day is deleted,
    so are its days of zeros. A table whose days also read the day before (`meta: {reads_day_before: true}`) is rebuilt
    for the named days and the day after each. -#}

{% macro replaces_onward() %}
  {{ return(config.meta_get('dense', false)) }}
{% endmacro %}

{% macro replaced_day_list() -%}
  {{ build_day_list(build_days_and([1]) if config.meta_get('reads_day_before', false) else build_days()) }}
{%- endmacro %}

{#- DuckDB: incremental_strategy 'replace_days', both statements in the materialization's transaction. -#}
{% macro get_incremental_replace_days_sql(arguments) %}
  {%- set columns = arguments['dest_columns'] | map(attribute='quoted') | join(', ') -%}
  delete from {{ arguments['target_relation'] }}
  where
    date in (select date from {{ arguments['temp_relation'] }})
    {%- if replaces_onward() %}
    or date >= {{ day_literal(build_days()[0]) }}
    {%- else %}
    or date in ({{ replaced_day_list() }})
    {%- endif %};

  insert into {{ arguments['target_relation'] }} ({{ columns }})
  select {{ columns }} from {{ arguments['temp_relation'] }}
{% endmacro %}

{#- BigQuery: overrides the adapter's insert_overwrite, and its microbatch, which calls the same macro. The adapter's
    dynamic form keeps an emptied day, since it replaces only days with new rows; its static form needs the days in the
    model's config, where they would be read while parsing. The replaced days are literals, so that only their
    partitions are read. In a dense table they start with the first rebuilt day. A built row outside them would
    duplicate its older version, so it fails the statement. -#}
{% macro bq_insert_overwrite_sql(
    tmp_relation, target_relation, sql, unique_key, partition_by, partitions, dest_columns, tmp_relation_exists, copy_partitions
) %}
  {%- if replaces_onward() -%}
    {%- set replaced = 'date >= ' ~ first_dense_day() -%}
  {%- else -%}
    {%- set replaced = 'date in (' ~ replaced_day_list() ~ ')' -%}
  {%- endif -%}
  {%- set outside = "error(concat('a built row of ', cast(date as string), ' lies outside the replaced days'))" -%}
  {% if not tmp_relation_exists %}
  {{ bq_create_table_as(partition_by, true, tmp_relation, sql, 'sql') }};
  {% endif %}
  {{ get_insert_overwrite_merge_sql(
    target_relation,
    '(select * from ' ~ tmp_relation ~ ' where if(' ~ replaced ~ ', true, ' ~ outside ~ '))',
    dest_columns,
    ['DBT_INTERNAL_DEST.' ~ replaced]
  ) }};
  drop table if exists {{ tmp_relation }}
{% endmacro %}
