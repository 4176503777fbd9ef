{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_workspace_counts'}}}) }}

-- Rows of ai_audit_workspace_counts that differ from a recount of staging.
with own as (
    select *
    from {{ ref('ai_audit_workspace_counts') }}
    where {{ tested_days(ref('ai_audit_workspace_counts')) }}
),

recounted as (
    select
        date,
        case when workspace_id is null then 'unassigned' else workspace_id end as workspace_id,
        workspace_id is null as is_unassigned,
        capability,
        provider,
        lower(provider) = 'stub' as is_stub,
        count(*) as interaction_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        {{ as_count('countif(error_by_status) - countif(error_by_status and error_by_flag)') }}
            as error_by_status_only_count,
        {{ as_count('countif(error_by_flag) - countif(error_by_status and error_by_flag)') }}
            as error_by_flag_only_count,
        {{ as_count('countif(error_by_status and error_by_flag)') }} as error_by_both_count,
        max(created_at) as last_interaction_at
    from {{ ref('stg_ai_audit_logs') }}
    where environment = 'live' and {{ tested_days(ref('stg_ai_audit_logs')) }}
    group by date, workspace_id, is_unassigned, capability, provider
)

{{ rows_that_differ(
    ['date', 'workspace_id', 'is_unassigned', 'capability', 'provider', 'is_stub'],
    counts=[
        'interaction_count', 'success_count', 'error_count', 'unknown_count', 'error_by_status_only_count',
        'error_by_flag_only_count', 'error_by_both_count'
    ],
    exact=['last_interaction_at']
) }}
