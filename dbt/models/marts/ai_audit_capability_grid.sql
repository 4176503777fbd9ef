with calendar as (
    select
        date,
        capability
    from {{ ref('ai_audit_capability_stats') }}
    where date >= {{ first_dense_day() }}
),

first_steps as (
    select
        capability,
        {{ step_of('min(first_interaction_at)') }} as first_step_start
    from {{ ref('ai_audit_capability_stats') }}
    group by capability
),

events as (
    select
        date,
        capability,
        {{ step_of('created_at') }} as step_start,
        workspace_id,
        status_class
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and not is_stub and {{ is_built_row() }}
),

figures as (
    select
        date,
        capability,
        step_start,
        count(*) as interaction_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        count(distinct workspace_id) as workspace_count
    from events
    group by date, capability, step_start
    {% if not builds_everything() %}
    -- The calendar reaches beyond the built days; the figures of the other days stay what they are.
    union all
    select
        date,
        capability,
        step_start,
        interaction_count,
        success_count,
        error_count,
        unknown_count,
        workspace_count
    from {{ this }}
    where
        interaction_count > 0
        and date >= {{ first_dense_day() }}
        and not {{ is_built_day() }}
    {% endif %}
),

steps as (
    select
        calendar.date,
        calendar.capability,
        step_start
    from calendar
    inner join first_steps on calendar.capability = first_steps.capability
    cross join {{ steps_of_day('calendar.date', 'step_start') }}
    where step_start >= first_steps.first_step_start
)

select
    steps.date,
    steps.capability,
    steps.step_start,
    'live' as environment,
    coalesce(figures.interaction_count, 0) as interaction_count,
    coalesce(figures.success_count, 0) as success_count,
    coalesce(figures.error_count, 0) as error_count,
    coalesce(figures.unknown_count, 0) as unknown_count,
    coalesce(figures.workspace_count, 0) as workspace_count
from steps
left join figures
    on
        steps.capability = figures.capability
        and steps.step_start = figures.step_start
where steps.step_start <= {{ now_literal() }} or figures.interaction_count > 0
