{#- Macros of ai_audit_workspace_coverage. -#}

{#- The days that have a row already. The model itself is never refreshed. -#}
{% macro days_captured() -%}
  {%- if is_incremental() -%}
    (select date from {{ this }})
  {%- else -%}
    (select date from {{ ref('ai_audit_workspace_counts') }} where false)
  {%- endif -%}
{%- endmacro %}

{#- A condition on a day without a row: the build names it, or it is later than all days with a row. Earlier days wait
    for the build that loads their records, so that no day is computed from a part of them. -#}
{% macro is_day_to_capture(day='date') -%}
  {%- if not execute or flags.FULL_REFRESH or not is_incremental() -%}
    true
  {%- else -%}
    {{ day }} in ({{ build_day_list() }})
    or {{ day }} > coalesce((select max(date) from captured_days), {{ day_literal('1900-01-01') }})
  {%- endif -%}
{%- endmacro %}
