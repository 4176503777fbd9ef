-- A day's capture is kept, also in a full refresh: the source overwrites last_accessed_at.
{{ config(
    incremental_strategy='merge', unique_key=['date'], partition_by=none, full_refresh=false
) }}

with workspaces as (
    select
        {{ trimmed('workspace_id') }} as workspace_id,
        cast(max(last_accessed_at) as date) as last_accessed_date
    from {{ source('analytics', 'ai_audit_workspaces') }}
    group by {{ trimmed('workspace_id') }}
),

captured as (
    select date
    from {{ days_captured() }}
),

reach as (
    select least(coalesce(min(date), {{ running_day() }}), {{ running_day() }}) as first_date
    from {{ ref('ai_audit_workspace_counts') }}
),

calendar as (
    select cast(calendar_day as date) as date
    from reach
    cross join {{ date_spine('reach.first_date', running_day(), 'calendar_day') }}
),

-- Without workspaces there are no rows.
days as (
    select calendar.date
    from calendar
    left join captured on calendar.date = captured.date
    where
        exists (select 1 from workspaces)
        and (
            calendar.date = {{ running_day() }}
            or (captured.date is null and ({{ is_day_to_capture('calendar.date') }}))
        )
),

active as (
    select
        days.date,
        workspaces.workspace_id
    from days
    inner join workspaces on workspaces.last_accessed_date > {{ add_days('days.date', -var('coverage_days')) }}
),

recorded_days as (
    select distinct
        date,
        workspace_id
    from {{ ref('ai_audit_workspace_counts') }}
    where
        not is_stub
        and not is_unassigned
        and date > (select {{ add_days('min(days.date)', -var('coverage_days')) }} from days)
),

recorded as (
    select distinct
        days.date,
        recorded_days.workspace_id
    from days
    inner join recorded_days
        on days.date >= recorded_days.date and days.date < {{ add_days('recorded_days.date', var('coverage_days')) }}
),

counted as (
    select
        days.date,
        count(active.workspace_id) as active_workspace_count,
        count(recorded.workspace_id) as covered_workspace_count
    from days
    left join active on days.date = active.date
    left join recorded on active.date = recorded.date and active.workspace_id = recorded.workspace_id
    group by days.date
)

select
    date,
    active_workspace_count,
    covered_workspace_count,
    covered_workspace_count / nullif(active_workspace_count, 0) as coverage_rate,
    date < {{ running_day() }} as is_estimated,
    {{ now_literal() }} as captured_at
from counted
