with events as (
    select
        date,
        coalesce(workspace_id, 'unassigned') as workspace_id,
        workspace_id is null as is_unassigned,
        capability,
        provider,
        is_stub,
        status_class,
        error_by_status,
        error_by_flag,
        created_at
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and {{ is_built_row() }}
)

select
    date,
    workspace_id,
    is_unassigned,
    capability,
    provider,
    is_stub,
    count(*) as interaction_count,
    {{ as_count("countif(status_class = 'success')") }} as success_count,
    {{ as_count("countif(status_class = 'error')") }} as error_count,
    {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
    {{ as_count("countif(error_by_status and not error_by_flag)") }} as error_by_status_only_count,
    {{ as_count("countif(error_by_flag and not error_by_status)") }} as error_by_flag_only_count,
    {{ as_count("countif(error_by_status and error_by_flag)") }} as error_by_both_count,
    max(created_at) as last_interaction_at
from events
group by date, workspace_id, is_unassigned, capability, provider, is_stub
