{#- Overrides dbt's macro for the rows a test reads: `where: __built_days__` becomes the days of this build, so that
    testing a partitioned table costs the same with a thousand days of history as with ten. -#}
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

{#- The condition itself. A full refresh is tested as a whole. Staging is pruned by created_at. -#}
{% macro tested_days(relation) -%}
  {%- if not execute or flags.FULL_REFRESH -%}
    {{ every_row() if relation.identifier.startswith('stg_') else 'true' }}
  {%- elif relation.identifier.startswith('stg_') -%}
    {{ rows_of_build_days() }}
  {%- else -%}
    date in ({{ build_day_list() }})
  {%- endif -%}
{%- endmacro %}
