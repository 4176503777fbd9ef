with active_days as (
    select distinct
        capability,
        date
    from {{ ref('ai_audit_daily') }}
    where not is_stub
),

active_days_with_next as (
    select
        capability,
        date as first_day,
        lead(date) over (partition by capability order by date) as next_active_day
    from active_days
),

-- An active day is followed by its silent days: up to the next active day, the running day, or the day on which a
-- silent capability leaves the calendar.
calendar_days as (
    select
        active_days_with_next.capability,
        cast(calendar_day as date) as date
    from active_days_with_next
    cross join {{ date_spine(
        'active_days_with_next.first_day',
        'greatest(active_days_with_next.first_day, least('
        ~ 'coalesce(' ~ add_days('active_days_with_next.next_active_day', -1) ~ ', ' ~ running_day() ~ '), '
        ~ running_day() ~ ', '
        ~ add_days('active_days_with_next.first_day', var('silent_days')) ~ '))',
        'calendar_day'
    ) }}
    where cast(calendar_day as date) >= {{ first_dense_day() }}
),

events as (
    select
        date,
        capability,
        created_at,
        workspace_id,
        status_class,
        duration_ms
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and not is_stub and {{ is_built_row() }}
),

built_figures as (
    select
        date,
        capability,
        count(*) as interaction_count,
        count(distinct workspace_id) as workspace_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        avg(duration_ms) as avg_latency_ms,
        {{ latency_percentiles('duration_ms') }} as latency_percentiles,
        max(duration_ms) as max_latency_ms,
        count(duration_ms) as duration_count,
        min(created_at) as first_interaction_at,
        max(created_at) as last_interaction_at
    from events
    group by date, capability
),

daily_figures as (
    select
        date,
        capability,
        interaction_count,
        workspace_count,
        success_count,
        error_count,
        unknown_count,
        avg_latency_ms,
        {{ latency_percentile('latency_percentiles', 50) }} as p50_latency_ms,
        {{ latency_percentile('latency_percentiles', 90) }} as p90_latency_ms,
        {{ latency_percentile('latency_percentiles', 95) }} as p95_latency_ms,
        {{ latency_percentile('latency_percentiles', 99) }} as p99_latency_ms,
        max_latency_ms,
        duration_count,
        first_interaction_at,
        last_interaction_at
    from built_figures
    {% if not builds_everything() %}
    -- The calendar reaches beyond the built days; the figures of other days are kept.
    union all
    select
        date,
        capability,
        interaction_count,
        workspace_count,
        success_count,
        error_count,
        unknown_count,
        avg_latency_ms,
        p50_latency_ms,
        p90_latency_ms,
        p95_latency_ms,
        p99_latency_ms,
        max_latency_ms,
        duration_count,
        first_interaction_at,
        last_interaction_at
    from {{ this }}
    where
        interaction_count > 0
        and date >= {{ first_dense_day() }}
        and not {{ is_built_day() }}
    {% endif %}
)

select
    calendar_days.date,
    calendar_days.capability,
    coalesce(daily_figures.interaction_count, 0) as interaction_count,
    coalesce(daily_figures.workspace_count, 0) as workspace_count,
    coalesce(daily_figures.success_count, 0) as success_count,
    coalesce(daily_figures.error_count, 0) as error_count,
    coalesce(daily_figures.unknown_count, 0) as unknown_count,
    daily_figures.error_count / nullif(daily_figures.success_count + daily_figures.error_count, 0) as error_rate,
    daily_figures.avg_latency_ms,
    daily_figures.p50_latency_ms,
    daily_figures.p90_latency_ms,
    daily_figures.p95_latency_ms,
    daily_figures.p99_latency_ms,
    daily_figures.max_latency_ms,
    coalesce(daily_figures.duration_count, 0) as duration_count,
    daily_figures.first_interaction_at,
    daily_figures.last_interaction_at
from calendar_days
left join daily_figures
    on
        calendar_days.capability = daily_figures.capability
        and calendar_days.date = daily_figures.date
