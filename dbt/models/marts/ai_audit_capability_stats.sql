with active_days as (
    select distinct
        capability,
        date
    from {{ ref('ai_audit_daily') }}
    where not is_stub
),

stretches as (
    select
        capability,
        date as first_day,
        lead(date) over (partition by capability order by date) as next_active_day
    from active_days
),

-- A stretch is an active day and the silent days after it: up to the next active day, the running day,
-- or the day on which a silent capability leaves the calendar.
calendar as (
    select
        stretches.capability,
        cast(calendar_day as date) as date
    from stretches
    cross join {{ date_spine(
        'stretches.first_day',
        'greatest(stretches.first_day, least('
        ~ 'coalesce(' ~ add_days('stretches.next_active_day', -1) ~ ', ' ~ running_day() ~ '), '
        ~ running_day() ~ ', '
        ~ add_days('stretches.first_day', var('silent_days')) ~ '))',
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

built_days as (
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

figures as (
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
    from built_days
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
    calendar.date,
    calendar.capability,
    coalesce(figures.interaction_count, 0) as interaction_count,
    coalesce(figures.workspace_count, 0) as workspace_count,
    coalesce(figures.success_count, 0) as success_count,
    coalesce(figures.error_count, 0) as error_count,
    coalesce(figures.unknown_count, 0) as unknown_count,
    figures.error_count / nullif(figures.success_count + figures.error_count, 0) as error_rate,
    figures.avg_latency_ms,
    figures.p50_latency_ms,
    figures.p90_latency_ms,
    figures.p95_latency_ms,
    figures.p99_latency_ms,
    figures.max_latency_ms,
    coalesce(figures.duration_count, 0) as duration_count,
    figures.first_interaction_at,
    figures.last_interaction_at
from calendar
left join figures
    on
        calendar.capability = figures.capability
        and calendar.date = figures.date
