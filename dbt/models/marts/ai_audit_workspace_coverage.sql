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

captured_days as (
    select date
    from {{ days_captured() }}
),

first_day as (
    select least(coalesce(min(date), {{ running_day() }}), {{ running_day() }}) as first_date
    from {{ ref('ai_audit_workspace_counts') }}
),

calendar as (
    select cast(calendar_day as date) as date
    from first_day
    cross join {{ date_spine('first_day.first_date', running_day(), 'calendar_day') }}
),

-- Without workspaces there are no rows.
capture_days as (
    select calendar.date
    from calendar
    left join captured_days on calendar.date = captured_days.date
    where
        exists (select 1 from workspaces)
        and (
            calendar.date = {{ running_day() }}
            or (captured_days.date is null and ({{ is_day_to_capture('calendar.date') }}))
        )
),

active_workspaces as (
    select
        capture_days.date,
        workspaces.workspace_id
    from capture_days
    inner join workspaces on workspaces.last_accessed_date > {{ add_days('capture_days.date', -var('coverage_days')) }}
),

recorded_days as (
    select distinct
        date,
        workspace_id
    from {{ ref('ai_audit_workspace_counts') }}
    where
        not is_stub
        and not is_unassigned
        and date > (select {{ add_days('min(capture_days.date)', -var('coverage_days')) }} from capture_days)
),

covered_workspaces as (
    select distinct
        capture_days.date,
        recorded_days.workspace_id
    from capture_days
    inner join recorded_days
        on
            capture_days.date >= recorded_days.date
            and capture_days.date < {{ add_days('recorded_days.date', var('coverage_days')) }}
),

coverage_counts as (
    select
        capture_days.date,
        count(active_workspaces.workspace_id) as active_workspace_count,
        count(covered_workspaces.workspace_id) as covered_workspace_count
    from capture_days
    left join active_workspaces on capture_days.date = active_workspaces.date
    left join covered_workspaces
        on
            active_workspaces.date = covered_workspaces.date
            and active_workspaces.workspace_id = covered_workspaces.workspace_id
    group by capture_days.date
)

select
    date,
    active_workspace_count,
    covered_workspace_count,
    covered_workspace_count / nullif(active_workspace_count, 0) as coverage_rate,
    date < {{ running_day() }} as is_estimated,
    {{ now_literal() }} as captured_at
from coverage_counts
