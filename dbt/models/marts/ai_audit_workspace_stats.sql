with workspaces as (
    select
        date,
        workspace_id,
        is_unassigned,
        max(last_interaction_at) as last_interaction_at,
        {{ as_count('sum(interaction_count)') }} as total_interactions,
        {{ as_count('sum(success_count)') }} as success_count,
        {{ as_count('sum(error_count)') }} as error_count,
        {{ as_count('sum(unknown_count)') }} as unknown_count,
        count(distinct capability) as unique_capabilities
    from {{ ref('ai_audit_workspace_counts') }}
    where {{ is_built_day() }}
    group by date, workspace_id, is_unassigned
)

select
    date,
    workspace_id,
    is_unassigned,
    case when not is_unassigned then concat('/workspaces/', workspace_id) end as workspace_path,
    last_interaction_at,
    total_interactions,
    success_count,
    error_count,
    unknown_count,
    error_count / nullif(success_count + error_count, 0) as error_rate,
    unique_capabilities
from workspaces
