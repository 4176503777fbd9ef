{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_workspace_stats'}}}) }}

-- Rows of ai_audit_workspace_stats that differ from a recount of the workspaces' capabilities and providers.
with own as (
    select *
    from {{ ref('ai_audit_workspace_stats') }}
    where {{ tested_days(ref('ai_audit_workspace_stats')) }}
),

recounted as (
    select
        date,
        workspace_id,
        is_unassigned,
        case when is_unassigned then null else concat('/workspaces/', workspace_id) end as workspace_path,
        max(last_interaction_at) as last_interaction_at,
        {{ as_count('sum(interaction_count)') }} as total_interactions,
        {{ as_count('sum(success_count)') }} as success_count,
        {{ as_count('sum(error_count)') }} as error_count,
        {{ as_count('sum(unknown_count)') }} as unknown_count,
        sum(error_count) / nullif(sum(interaction_count) - sum(unknown_count), 0) as error_rate,
        count(distinct capability) as unique_capabilities
    from {{ ref('ai_audit_workspace_counts') }}
    where {{ tested_days(ref('ai_audit_workspace_counts')) }}
    group by date, workspace_id, is_unassigned
)

{{ rows_that_differ(
    ['date', 'workspace_id', 'is_unassigned'],
    counts=['total_interactions', 'success_count', 'error_count', 'unknown_count', 'unique_capabilities'],
    exact=['workspace_path', 'last_interaction_at'],
    approximate=['error_rate']
) }}
