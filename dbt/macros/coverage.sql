{#- What only ai_audit_workspace_coverage needs. -#}

{#- The days that have their row already; it is never refreshed itself. -#}
{% macro days_captured() -%}
  {%- if is_incremental() -%}
    (select date from {{ this }})
  {%- else -%}
    (select date from {{ ref('ai_audit_workspace_counts') }} where false)
  {%- endif -%}
{%- endmacro %}

{#- A condition on a day that has no row: the build names it, or it is later than all that have one. What lies before is
    left to the build that brings its records, so that no day is told from half of them. -#}
{% macro is_day_to_capture(day='date') -%}
  {%- if not execute or flags.FULL_REFRESH or not is_incremental() -%}
    true
  {%- else -%}
    {{ day }} in ({{ build_day_list() }})
    or {{ day }} > coalesce((select max(date) from captured), {{ day_literal('1900-01-01') }})
  {%- endif -%}
{%- endmacro %}
