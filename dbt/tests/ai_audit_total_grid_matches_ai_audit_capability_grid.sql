{{ config(meta={'dagster': {'ref': {'name': 'ai_audit_total_grid'}}}) }}

-- Steps of ai_audit_total_grid whose counts are not the sums over the capabilities.
with own as (
    select *
    from {{ ref('ai_audit_total_grid') }}
    where {{ tested_days(ref('ai_audit_total_grid')) }}
),

recounted as (
    select
        environment,
        step_start,
        {{ as_count('sum(interaction_count)') }} as interaction_count,
        {{ as_count('sum(success_count)') }} as success_count,
        {{ as_count('sum(error_count)') }} as error_count,
        {{ as_count('sum(unknown_count)') }} as unknown_count
    from {{ ref('ai_audit_capability_grid') }}
    where {{ tested_days(ref('ai_audit_capability_grid')) }}
    group by environment, step_start
)

{{ rows_that_differ(
    ['environment', 'step_start'],
    counts=['interaction_count', 'success_count', 'error_count', 'unknown_count']
) }}
