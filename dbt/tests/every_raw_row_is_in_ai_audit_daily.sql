{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_daily'}}}) }}

-- Days on which the number of raw rows, without those of drills, differs from ai_audit_daily.
with raw_days as (
    select
        cast(created_at as date) as date,
        count(*) as row_count
    from {{ source('analytics', 'ai_audit_logs') }}
    where
        {{ trimmed('drill_id') }} is null
        and {{ every_row() if flags.FULL_REFRESH or not execute else rows_of_build_days('cast(created_at as date)') }}
    group by cast(created_at as date)
),

daily as (
    select
        date,
        sum(interaction_count) as row_count
    from {{ ref('ai_audit_daily') }}
    where {{ tested_days(ref('ai_audit_daily')) }}
    group by date
)

select
    coalesce(raw_days.date, daily.date) as date,
    raw_days.row_count as raw_count,
    daily.row_count as daily_count
from raw_days
full outer join daily on raw_days.date = daily.date
where coalesce(raw_days.row_count, 0) != coalesce(daily.row_count, 0)
