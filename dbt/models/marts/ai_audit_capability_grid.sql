{%- set last_step = last_step('counted_steps') -%}
{%- set last_day = 'cast(' ~ last_step ~ ' as date)' -%}
{%- set first_read_day = add_days(first_dense_day(), -expectation_days()) -%}

with counted_steps as (
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
    from {{ step_counts() }}
    {% if not builds_everything() %}
    -- The calendar and the comparisons reach beyond the built days; the counts of other days are kept.
    union all
    select
        date,
        environment,
        capability,
        step_start,
        {{ as_small_count('interaction_count') }} as interaction_count,
        {{ as_small_count('success_count') }} as success_count,
        {{ as_small_count('error_count') }} as error_count,
        {{ as_small_count('unknown_count') }} as unknown_count,
        {{ as_small_count('workspace_count') }} as workspace_count
    from {{ this }}
    where
        interaction_count > 0
        and date >= {{ add_days(first_read_day, -var('silent_days') - 1) }}
        and not {{ is_built_day() }}
    {% endif %}
),

series_names as ( -- noqa: ST03
    select
        environment,
        capability,
        {{ as_small_count('row_number() over (order by environment, capability)') }} as series
    from counted_steps
    group by environment, capability
),

numbered_steps as (
    select
        series_names.series,
        counted_steps.date,
        counted_steps.step_start,
        counted_steps.interaction_count,
        counted_steps.success_count,
        counted_steps.error_count,
        counted_steps.unknown_count,
        counted_steps.workspace_count
    from counted_steps
    inner join series_names
        on counted_steps.environment = series_names.environment and counted_steps.capability = series_names.capability
),

active_days as (
    select
        series,
        date,
        min(step_start) as first_step_start
    from numbered_steps
    group by series, date
),

stretches as (
    select
        series,
        date as first_day,
        first_step_start,
        lag(date) over (partition by series order by date) as active_day_before,
        lead(date) over (partition by series order by date) as next_active_day
    from active_days
),

-- A stretch is an active day and the silent days after it: up to the next active day, the running day, or the day on
-- which a silent capability leaves the calendar. A new or returning capability begins with its first step with calls.
calendar as (
    select
        stretches.series,
        cast(calendar_day as date) as date,
        case
            when
                active_day_before is null
                or {{ add_days('active_day_before', var('silent_days') + 1) }} < first_day
                then first_step_start
        end as begins_at
    from stretches
    cross join {{ days_in_range(
        'stretches.first_day',
        'greatest(stretches.first_day, least('
        ~ 'coalesce(' ~ add_days('stretches.next_active_day', -1) ~ ', ' ~ last_day ~ '), '
        ~ last_day ~ ', '
        ~ add_days('stretches.first_day', var('silent_days')) ~ '))',
        'calendar_day'
    ) }}
    where cast(calendar_day as date) >= {{ first_read_day }}
),

days as (
    select distinct date
    from calendar
),

clock as (
    select
        date,
        step_start,
        {{ local_time('step_start') }} as local_start,
        {{ local_time(add_minutes('step_start', var('step_minutes'))) }} as local_end
    from days
    cross join {{ steps_of_day('date', var('step_minutes'), 'step_start') }}
),

local_clock as (
    select
        date,
        step_start,
        cast(local_start as date) as local_date,
        {{ as_small_count('floor(' ~ minute_of_day('local_start') ~ ' / ' ~ var('step_minutes') ~ ')') }}
            as step_of_day,
        cast(local_end as date) > cast(local_start as date) as day_is_over
    from clock
),

steps as ( -- noqa: ST03
    select
        calendar.series,
        local_clock.step_start,
        local_clock.local_date,
        local_clock.step_of_day,
        local_clock.day_is_over,
        coalesce(numbered_steps.interaction_count, 0) as interaction_count,
        coalesce(numbered_steps.success_count, 0) as success_count,
        coalesce(numbered_steps.error_count, 0) as error_count,
        coalesce(numbered_steps.unknown_count, 0) as unknown_count,
        coalesce(numbered_steps.workspace_count, 0) as workspace_count
    from calendar
    inner join local_clock on calendar.date = local_clock.date
    left join numbered_steps
        on calendar.series = numbered_steps.series and local_clock.step_start = numbered_steps.step_start
    where
        (calendar.begins_at is null or local_clock.step_start >= calendar.begins_at)
        and (local_clock.step_start <= {{ last_step }} or numbered_steps.interaction_count > 0)
)

select
    date,
    capability,
    step_start,
    environment,
    {{ as_count('interaction_count') }} as interaction_count,
    {{ as_count('success_count') }} as success_count,
    {{ as_count('error_count') }} as error_count,
    {{ as_count('unknown_count') }} as unknown_count,
    {{ as_count('workspace_count') }} as workspace_count,
    local_date,
    step_of_day,
    day_is_over,
    day_count,
    seconds_into_day,
    day_median_14d,
    comparable_days,
    last_interaction_at,
    expected_count,
    expected_since_last,
    count_1h,
    count_2h,
    count_6h,
    highest_step_2h,
    usual_1h,
    usual_2h,
    usual_6h,
    lowest_2h,
    lowest_day,
    lowest_2nd_1h,
    lowest_3rd_1h,
    lowest_2nd_2h,
    lowest_3rd_6h,
    highest_1h,
    highest_2nd_1h,
    highest_6h,
    day_before_1h,
    week_before_2h,
    ratio_2h,
    ratio_6h,
    low_share_6h,
    peak_1h,
    peak_2nd_1h,
    peak_2nd_2h,
    peak_2nd_6h,
    low_ratio_2nd_2h,
    low_ratio_2nd_6h
from {{ with_expectations(
    'steps',
    'series_names',
    ['environment', 'capability'],
    ['success_count', 'error_count', 'unknown_count', 'workspace_count', 'day_is_over']
) }}
