{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_capability_grid'}}}) }}

-- Steps of ai_audit_capability_grid whose counts differ from a recount of staging.
with own as (
    select *
    from {{ ref('ai_audit_capability_grid') }}
    where {{ tested_days(ref('ai_audit_capability_grid')) }}
),

recounted as (
    select
        environment,
        capability,
        {{ time_bucket('created_at', var('step_minutes')) }} as step_start,
        count(*) as interaction_count,
        {{ as_count("countif(status_class = 'success')") }} as success_count,
        {{ as_count("countif(status_class = 'error')") }} as error_count,
        {{ as_count("countif(status_class = 'unknown')") }} as unknown_count,
        count(distinct workspace_id) as workspace_count
    from {{ ref('stg_ai_audit_logs') }}
    where lower(provider) != 'stub' and {{ tested_days(ref('stg_ai_audit_logs')) }}
    group by environment, capability, step_start
)

{{ rows_that_differ(
    ['environment', 'capability', 'step_start'],
    counts=['interaction_count', 'success_count', 'error_count', 'unknown_count', 'workspace_count'],
    dense=true
) }}
