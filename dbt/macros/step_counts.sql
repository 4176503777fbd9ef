{#- The counts of the grids: a table expression with one row per environment, capability and step.

    They are counted from the audit records of the built days or, if the variable `outside_counts` names a relation,
    taken from that relation, so that a backtest runs an external series through the same models. External series have
    counts only: every outcome is 0, and the environment is `live`. A row of zero means that the step was observed. -#}
{% macro step_counts() %}
  {%- if var('outside_counts') -%}
(
    select
        cast(step_start as date) as date,
        'live' as environment,
        capability,
        step_start,
        {{ as_small_count('interaction_count') }} as interaction_count,
        {{ as_small_count(0) }} as success_count,
        {{ as_small_count(0) }} as error_count,
        {{ as_small_count(0) }} as unknown_count,
        {{ as_small_count(0) }} as workspace_count
    from {{ var('outside_counts') }}
)
  {%- else -%}
(
    select
        date,
        environment,
        capability,
        {{ step_of('created_at', var('step_minutes')) }} as step_start,
        {{ as_small_count('count(*)') }} as interaction_count,
        {{ as_small_count("countif(status_class = 'success')") }} as success_count,
        {{ as_small_count("countif(status_class = 'error')") }} as error_count,
        {{ as_small_count("countif(status_class = 'unknown')") }} as unknown_count,
        {{ as_small_count('count(distinct workspace_id)') }} as workspace_count
    from {{ ref('stg_ai_audit_logs') }}
    where not is_stub and {{ is_built_row() }}
    group by date, environment, capability, step_start
)
  {%- endif -%}
{% endmacro %}

{#- The last step of the dense calendar: the running step, or the newest step of the external series. -#}
{% macro last_step(counts) -%}
  {%- if var('outside_counts') -%}
    (select max(step_start) from {{ counts }})
  {%- else -%}
    {{ now_literal() }}
  {%- endif -%}
{%- endmacro %}
