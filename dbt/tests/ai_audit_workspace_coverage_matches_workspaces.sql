{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_workspace_coverage'}}}) }}

-- The running day's row of this build, if it differs from a recount of the workspaces and their records. Earlier days
-- cannot be recounted, since the source overwrites a workspace's last access.
with own as (
    select *
    from {{ ref('ai_audit_workspace_coverage') }}
    where date = {{ running_day() }} and captured_at = {{ now_literal() }}
),

active as (
    select distinct {{ trimmed('workspace_id') }} as workspace_id
    from {{ source('analytics', 'ai_audit_workspaces') }}
    where cast(last_accessed_at as date) > {{ add_days(running_day(), -var('coverage_days')) }}
),

recorded as (
    select distinct workspace_id
    from {{ ref('ai_audit_workspace_counts') }}
    where
        not is_stub
        and not is_unassigned
        and date > {{ add_days(running_day(), -var('coverage_days')) }}
        and date <= {{ running_day() }}
),

counted as (
    select
        {{ running_day() }} as date,
        count(active.workspace_id) as active_workspace_count,
        count(recorded.workspace_id) as covered_workspace_count,
        count(recorded.workspace_id) / nullif(count(active.workspace_id), 0) as coverage_rate
    from active
    left join recorded on active.workspace_id = recorded.workspace_id
),

recounted as (
    select *
    from counted
    where exists (select 1 from own)
)

{{ rows_that_differ(
    ['date'],
    counts=['active_workspace_count', 'covered_workspace_count'],
    approximate=['coverage_rate']
) }}
