{#- How a build replaces days: it empties the days it names and every day it produced, then inserts. A day that lost
    its last row is therefore empty afterwards, and building a day twice gives the same table.
    A dense table (`meta: {dense: true}`) is emptied from the first named day on: if a capability's only day goes,
    its days of zero go with it. -#}

{% macro replaces_onward() %}
  {{ return(config.meta_get('dense', false)) }}
{% endmacro %}

{#- DuckDB: incremental_strategy 'replace_days', both statements in the materialisation's one transaction. -#}
{% macro get_incremental_replace_days_sql(arguments) %}
  {%- set columns = arguments['dest_columns'] | map(attribute='quoted') | join(', ') -%}
  delete from {{ arguments['target_relation'] }}
  where
    date in (select date from {{ arguments['temp_relation'] }})
    {%- if replaces_onward() %}
    or date >= {{ day_literal(build_days()[0]) }}
    {%- else %}
    or date in ({{ build_day_list() }})
    {%- endif %};

  insert into {{ arguments['target_relation'] }} ({{ columns }})
  select {{ columns }} from {{ arguments['temp_relation'] }}
{% endmacro %}

{#- BigQuery: takes the place of the adapter's insert_overwrite, and of its microbatch, which ends in the same macro. The
    adapter's dynamic form keeps an emptied day, since it replaces the days that have new rows; its static form wants the
    days in the model's config, where they would be read while parsing.
    The replaced days are literals, so that only their partitions are read. A dense table's reach from the first day it
    rebuilds; a built row outside them would come to lie beside its older self, and fails the statement instead. -#}
{% macro bq_insert_overwrite_sql(
    tmp_relation, target_relation, sql, unique_key, partition_by, partitions, dest_columns, tmp_relation_exists, copy_partitions
) %}
  {%- if replaces_onward() -%}
    {%- set replaced = 'date >= ' ~ first_dense_day() -%}
  {%- else -%}
    {%- set replaced = 'date in (' ~ build_day_list() ~ ')' -%}
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
