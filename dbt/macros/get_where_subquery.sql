{#- dbt's customisation point for what a test reads: `where: __built_days__` becomes the days of this build,
    so that the tests of a partitioned table cost the same at a thousand days of history as at ten. -#}
{% macro get_where_subquery(relation) -%}
  {%- set condition = config.get('where') -%}
  {%- if not condition -%}
    {{ return(relation) }}
  {%- endif -%}
  {%- if condition == '__built_days__' -%}
    {%- set condition = tested_days(relation) -%}
  {%- endif -%}
  {{ return('(select * from ' ~ relation ~ ' where ' ~ condition ~ ') as tested') }}
{%- endmacro %}

{#- The condition itself; a full refresh is tested whole. Staging is pruned by created_at. -#}
{% macro tested_days(relation) -%}
  {%- if not execute or flags.FULL_REFRESH -%}
    {{ every_row() if relation.identifier.startswith('stg_') else 'true' }}
  {%- elif relation.identifier.startswith('stg_') -%}
    {{ rows_of_build_days() }}
  {%- else -%}
    date in ({{ build_day_list() }})
  {%- endif -%}
{%- endmacro %}
