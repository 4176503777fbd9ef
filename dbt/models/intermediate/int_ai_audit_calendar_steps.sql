with step_counts as (
    select
        date,
        environment,
        capability,
        step_start,
        interaction_count,
        success_count,
        error_count,
        unknown_count,
        workspace_count
    from {{ ref('int_ai_audit_step_counts') }}
    where date >= {{ add_days(first_dense_day(), -var('silent_days') - 1) }}
),

active_days as (
    select
        environment,
        capability,
        date,
        min(step_start) as first_step_start
    from step_counts
    group by environment, capability, date
),

active_days_with_neighbors as (
    select
        environment,
        capability,
        date as first_day,
        first_step_start,
        lag(date) over (partition by environment, capability order by date) as active_day_before,
        lead(date) over (partition by environment, capability order by date) as next_active_day
    from active_days
),

-- An active day is followed by its silent days: up to the next active day, the running day, or the day on which a
-- silent capability leaves the calendar. A new or returning capability begins with its first step with calls.
calendar_days as (
    select
        active_days.environment,
        active_days.capability,
        cast(calendar_day as date) as date,
        case
            when
                active_days.active_day_before is null
                or {{ add_days('active_days.active_day_before', var('silent_days') + 1) }} < active_days.first_day
                then active_days.first_step_start
        end as begins_at
    from active_days_with_neighbors as active_days
    cross join {{ date_spine(
        'active_days.first_day',
        'greatest(active_days.first_day, least('
        ~ 'coalesce(' ~ add_days('active_days.next_active_day', -1) ~ ', ' ~ running_day() ~ '), '
        ~ running_day() ~ ', '
        ~ add_days('active_days.first_day', var('silent_days')) ~ '))',
        'calendar_day'
    ) }}
    where cast(calendar_day as date) >= {{ first_dense_day() }}
),

days as (
    select distinct date
    from calendar_days
),

steps_of_days as (
    select
        date,
        step_start,
        {{ local_time('step_start') }} as local_start,
        {{ local_time(add_minutes('step_start', var('step_minutes'))) }} as local_end
    from days
    cross join {{ steps_of_day('date', var('step_minutes'), 'step_start') }}
),

local_steps as (
    select
        date,
        step_start,
        cast(local_start as date) as local_date,
        {{ as_count('floor(' ~ minute_of_day('local_start') ~ ' / ' ~ var('step_minutes') ~ ')') }} as step_of_day,
        cast(local_end as date) > cast(local_start as date) as day_is_over
    from steps_of_days
)

select
    calendar_days.date,
    calendar_days.environment,
    calendar_days.capability,
    local_steps.step_start,
    local_steps.local_date,
    local_steps.step_of_day,
    local_steps.day_is_over,
    coalesce(step_counts.interaction_count, 0) as interaction_count,
    coalesce(step_counts.success_count, 0) as success_count,
    coalesce(step_counts.error_count, 0) as error_count,
    coalesce(step_counts.unknown_count, 0) as unknown_count,
    coalesce(step_counts.workspace_count, 0) as workspace_count
from calendar_days
inner join local_steps on calendar_days.date = local_steps.date
left join step_counts
    on
        calendar_days.environment = step_counts.environment
        and calendar_days.capability = step_counts.capability
        and local_steps.step_start = step_counts.step_start
where
    (calendar_days.begins_at is null or local_steps.step_start >= calendar_days.begins_at)
    and (local_steps.step_start <= {{ now_literal() }} or step_counts.interaction_count > 0)
