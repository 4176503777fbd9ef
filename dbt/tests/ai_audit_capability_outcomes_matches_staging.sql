{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_capability_outcomes'}}}) }}

-- Steps of ai_audit_capability_outcomes whose own counts differ from a recount of staging.
with own as (
    select *
    from {{ ref('ai_audit_capability_outcomes') }}
    where {{ tested_days(ref('ai_audit_capability_outcomes')) }}
),

recounted as (
    select
        environment,
        capability,
        {{ time_bucket('created_at', var('outcome_step_minutes')) }} as step_start,
        count(*) as interaction_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        {{ as_count('countif(workspace_id is not null)') }} as workspace_known_count,
        min(case when status_class = 'error' then workspace_id end) as first_error_workspace,
        max(case when status_class = 'error' then workspace_id end) as last_error_workspace
    from {{ ref('stg_ai_audit_logs') }}
    where lower(provider) != 'stub' and {{ tested_days(ref('stg_ai_audit_logs')) }}
    group by environment, capability, step_start
)

{{ rows_that_differ(
    ['environment', 'capability', 'step_start'],
    counts=['interaction_count', 'success_count', 'error_count', 'unknown_count', 'workspace_known_count'],
    exact=['first_error_workspace', 'last_error_workspace'],
    dense=true
) }}
