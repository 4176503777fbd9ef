{%- set minutes = var('outcome_step_minutes') -%}
{%- set spans = [15, 60] -%}
{%- set counts = outcome_counts() -%}
{%- set key = ['environment', 'scope', 'capability'] %}

with capability_steps as (
    select
        environment,
        capability,
        {{ time_bucket('created_at', minutes) }} as step_start,
        count(*) as interaction_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        count(workspace_id) as workspace_known_count,
        min(case when status_class = 'error' then workspace_id end) as first_error_workspace,
        max(case when status_class = 'error' then workspace_id end) as last_error_workspace
    from {{ ref('stg_ai_audit_logs') }}
    where not is_stub and {{ is_built_row() }}
    group by environment, capability, step_start
    {% if not builds_everything() %}
    -- The trailing hour begins on the day before, and base rates affect later days; counts of other days are kept.
    union all
    select
        environment,
        capability,
        step_start,
        interaction_count,
        success_count,
        error_count,
        unknown_count,
        workspace_known_count,
        first_error_workspace,
        last_error_workspace
    from {{ this }}
    where
        scope = 'capability'
        and interaction_count > 0
        and date >= {{ add_days(first_dense_day(), -1) }}
        and not {{ is_built_day() }}
    {% endif %}
),

steps as (
    select
        environment,
        'capability' as scope,
        capability,
        step_start,
        {{ counts | join(', ') }},
        first_error_workspace,
        last_error_workspace
    from capability_steps
    union all
    select
        environment,
        'total' as scope,
        'all' as capability,
        step_start,
        {%- for count in counts %}
        {{ as_count('sum(' ~ count ~ ')') }} as {{ count }},
        {%- endfor %}
        min(first_error_workspace) as first_error_workspace,
        max(last_error_workspace) as last_error_workspace
    from capability_steps
    group by environment, step_start
),

-- The counts of a step contribute to every step whose trailing hour contains it; sums, minima and maxima over these
-- contributions equal those over the events.
step_contributions as (
    select
        {{ key | join(', ') }},
        {{ add_minutes('step_start', minutes ~ ' * steps_ago') }} as step_start,
        steps_ago,
        first_error_workspace,
        last_error_workspace,
        {{ counts | join(', ') }}
    from steps
    cross join {{ numbers_below(60 // minutes, 'steps_ago') }}
),

trailing_counts as (
    select
        {{ key | join(', ') }},
        step_start,
        {%- for span in spans %}
        {%- set within = 'steps_ago < ' ~ span // minutes %}
        {%- for count in counts %}
        {{ as_count('sum(case when ' ~ within ~ ' then ' ~ count ~ ' else 0 end)') }} as {{ count }}_{{ span }}m,
        {%- endfor %}
        coalesce(
            min(case when {{ within }} then first_error_workspace end)
            != max(case when {{ within }} then last_error_workspace end),
            false
        ) as errors_in_two_workspaces_{{ span }}m,
        {%- endfor %}
        {%- for count in counts %}
        {{ as_count('sum(case when steps_ago = 0 then ' ~ count ~ ' else 0 end)') }} as {{ count }},
        {%- endfor %}
        min(case when steps_ago = 0 then first_error_workspace end) as first_error_workspace,
        max(case when steps_ago = 0 then last_error_workspace end) as last_error_workspace
    from step_contributions
    group by {{ key | join(', ') }}, step_start
),

outcomes as (
    select
        cast(step_start as date) as date,
        *
    from trailing_counts
    where
        cast(step_start as date) >= {{ first_dense_day() }}
        and (step_start <= {{ now_literal() }} or interaction_count > 0)
),

capability_days as (
    select
        environment,
        capability,
        date,
        sum(success_count) as success_count,
        sum(error_count) as error_count
    from {{ ref('int_ai_audit_calendar_steps') }}
    where date >= {{ add_days(first_dense_day(), -14) }}
    group by environment, capability, date
),

days as (
    select
        environment,
        'capability' as scope,
        capability,
        date,
        success_count,
        error_count
    from capability_days
    union all
    select
        environment,
        'total' as scope,
        'all' as capability,
        date,
        sum(success_count) as success_count,
        sum(error_count) as error_count
    from capability_days
    group by environment, date
),

known_outcomes_14d as (
    select
        {{ key | join(', ') }},
        date,
        sum(error_count) over fortnight as error_count,
        sum(success_count + error_count) over fortnight as known_count
    from days
    window
        fortnight as (
            partition by {{ key | join(', ') }}
            order by {{ day_number('date') }} range between 14 preceding and 1 preceding
        )
),

error_rates as (
    select
        outcomes.*,
        {%- for span in spans %}
        outcomes.success_count_{{ span }}m + outcomes.error_count_{{ span }}m as known_count_{{ span }}m,
        outcomes.error_count_{{ span }}m
        / nullif(outcomes.success_count_{{ span }}m + outcomes.error_count_{{ span }}m, 0) as error_rate_{{ span }}m,
        {%- endfor %}
        case
            when known_outcomes_14d.known_count >= {{ var('base_rate_minimum') }}
                then known_outcomes_14d.error_count / known_outcomes_14d.known_count
        end as base_error_rate
    from outcomes
    left join known_outcomes_14d
        on {{ join_condition(key + ['date'], 'outcomes', 'known_outcomes_14d') }}
)

select
    date,
    scope,
    capability,
    step_start,
    environment,
    {{ counts | join(', ') }},
    first_error_workspace,
    last_error_workspace,
    {%- for span in spans %}
    {%- for count in counts %}
    {{ count }}_{{ span }}m,
    {%- endfor %}
    errors_in_two_workspaces_{{ span }}m,
    {%- endfor %}
    base_error_rate,
    {%- for span in spans %}
    error_rate_{{ span }}m,
    {{ wilson_low('error_rate_' ~ span ~ 'm', 'known_count_' ~ span ~ 'm') }} as error_rate_{{ span }}m_low,
    {%- endfor %}
    unknown_count_60m / interaction_count_60m as unknown_rate_60m
from error_rates
