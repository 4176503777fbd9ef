{#- The outcomes of calls in the 15 and the 60 minutes up to the end of each step. The same SQL serves a single
    capability and all together. A table expression for a CTE of counts per step with calls (with the columns of
    `outcome_figures`), its key columns, and the grid of the same series, whose counts give the base rate.

    The counts of a step contribute to every step whose trailing hour contains it; sums, minima and maxima over these
    contributions equal those over the events. -#}
{% macro outcome_figures() %}
  {{ return(['interaction_count', 'success_count', 'error_count', 'unknown_count', 'workspace_known_count']) }}
{% endmacro %}

{% macro with_outcomes(counts, keys, grid) %}
  {%- set minutes = var('outcome_step_minutes') -%}
  {%- set spans = [15, 60] -%}
  {%- set key = keys | join(', ') -%}
  {%- set figures = outcome_figures() -%}
(
with step_contributions as (
    select
        {{ key }},
        {{ add_minutes('step_start', minutes ~ ' * steps_ago') }} as step_start,
        steps_ago,
        first_error_workspace,
        last_error_workspace,
        {{ figures | join(', ') }}
    from {{ counts }}
    cross join {{ numbers_below(60 // minutes, 'steps_ago') }}
),

spans as (
    select
        {{ key }},
        step_start,
        {%- for span in spans %}
        {%- set within = 'steps_ago < ' ~ span // minutes %}
        {%- for figure in figures %}
        {{ as_count('sum(case when ' ~ within ~ ' then ' ~ figure ~ ' else 0 end)') }} as {{ figure }}_{{ span }}m,
        {%- endfor %}
        coalesce(
            min(case when {{ within }} then first_error_workspace end)
            != max(case when {{ within }} then last_error_workspace end),
            false
        ) as errors_in_two_workspaces_{{ span }}m,
        {%- endfor %}
        {%- for figure in figures %}
        {{ as_count('sum(case when steps_ago = 0 then ' ~ figure ~ ' else 0 end)') }} as {{ figure }},
        {%- endfor %}
        min(case when steps_ago = 0 then first_error_workspace end) as first_error_workspace,
        max(case when steps_ago = 0 then last_error_workspace end) as last_error_workspace
    from step_contributions
    group by {{ key }}, step_start
),

outcomes as (
    select
        cast(step_start as date) as date,
        *
    from spans
    where
        cast(step_start as date) >= {{ first_dense_day() }}
        and (step_start <= {{ now_literal() }} or interaction_count > 0)
),

days as (
    select
        {{ key }},
        date,
        sum(success_count) as success_count,
        sum(error_count) as error_count
    from {{ grid }}
    where date >= {{ add_days(first_dense_day(), -14) }}
    group by {{ key }}, date
),

known_before as (
    select
        {{ key }},
        date,
        sum(error_count) over fortnight as error_count,
        sum(success_count + error_count) over fortnight as known_count
    from days
    window
        fortnight as (
            partition by {{ key }} order by {{ day_number('date') }} range between 14 preceding and 1 preceding
        )
),

rates as (
    select
        outcomes.*,
        case
            when known_before.known_count >= {{ var('base_rate_minimum') }}
                then known_before.error_count / known_before.known_count
        end as base_error_rate,
        {%- for span in spans %}
        outcomes.success_count_{{ span }}m + outcomes.error_count_{{ span }}m as known_count_{{ span }}m,
        outcomes.error_count_{{ span }}m
        / nullif(outcomes.success_count_{{ span }}m + outcomes.error_count_{{ span }}m, 0) as error_rate_{{ span }}m
        {{- ',' if not loop.last }}
        {%- endfor %}
    from outcomes
    left join known_before
        on outcomes.date = known_before.date and {{ join_condition(keys, 'outcomes', 'known_before') }}
)

select
    date,
    {%- for column in keys if column != 'environment' %}
    {{ column }},
    {%- endfor %}
    step_start,
    environment,
    {{ figures | join(', ') }},
    first_error_workspace,
    last_error_workspace,
    {%- for span in spans %}
    {%- for figure in figures %}
    {{ figure }}_{{ span }}m,
    {%- endfor %}
    errors_in_two_workspaces_{{ span }}m,
    {%- endfor %}
    base_error_rate,
    {%- for span in spans %}
    error_rate_{{ span }}m,
    {{ wilson_low('error_rate_' ~ span ~ 'm', 'known_count_' ~ span ~ 'm') }} as error_rate_{{ span }}m_low,
    {%- endfor %}
    unknown_count_60m / interaction_count_60m as unknown_rate_60m
from rates
)
{% endmacro %}

{#- The lower end of Wilson's score interval of a share among `count` (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927,
    209-212). Null if the share is null; never below zero by rounding. -#}
{% macro wilson_low(share, count) -%}
  {%- set z = var('outcome_z') -%}
  case
    when {{ share }} is not null
      then greatest(0, (
        {{ share }} + {{ z * z / 2 }} / {{ count }}
        - {{ z }} * sqrt({{ share }} * (1 - {{ share }}) / {{ count }} + {{ z * z / 4 }} / ({{ count }} * {{ count }}))
      ) / (1 + {{ z * z }} / {{ count }}))
  end
{%- endmacro %}

{#- The marts' column names for each span of minutes. -#}
{% macro numbered_by_span(columns, spans) -%}
  {%- set names = [] -%}
  {%- for span in spans -%}
  {%- for column in columns -%}{%- do names.append(column ~ '_' ~ span ~ 'm') -%}{%- endfor -%}
  {%- endfor -%}
  {{ return(names) }}
{%- endmacro %}
